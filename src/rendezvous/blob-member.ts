import type { Digest } from '../../protocols/digest.ts'
import { geometryOf } from '../../protocols/pieces.ts'
import type { CounterMessage, MemberMessage } from '../../protocols/rendezvous/codec.ts'
import { MAX_RANGES } from '../../protocols/rendezvous/limits.ts'
import type { Clock } from '../clock.ts'
import type { PeerRef } from '../net/host.ts'
import { LeasedGrant } from './leased-grant.ts'
import type { Line } from './line.ts'
import { answerMs, leasePieces, maxLeases, mayActAlone, OPEN_LAST, registrationDelayMs } from './policy.ts'
import { firstRun, runsOf } from './ranges.ts'
import type { Grant, Membership } from './rendezvous.ts'
import { type Seat, Seats } from './seats.ts'
import { Starvation } from './starvation.ts'

export interface MemberOptions {
  readonly clock: Clock
  readonly random: () => number
  readonly self: PeerRef
  readonly members: () => readonly PeerRef[]
  /** Whether there is a way to it that did not fail a short while ago. */
  readonly isReachable: (peerId: string) => boolean
  readonly isConnected: (peerId: string) => boolean
  /** The way to a peer that is known or whose addresses came along. */
  readonly lineTo: (peerId: string, addresses?: readonly string[]) => Line | undefined
  readonly onClose: (member: BlobMember) => void
}

type GrantMessage = Extract<CounterMessage, { type: 'grant' }>

interface Question {
  readonly request: number
  readonly seat: Seat
  readonly answer: (message: GrantMessage | 'wait' | 'silent') => void
}

/** This node as a member of one blob's swarm: registers, asks, and keeps every table that it deals with in the picture. */
export class BlobMember implements Membership {
  readonly digest: Digest
  readonly #options: MemberOptions
  readonly #seats: Seats
  readonly #introduced = Promise.withResolvers<void>()
  readonly #peers = new Map<string, PeerRef>()
  readonly #memberListeners = new Set<(peer: PeerRef) => void>()
  readonly #changeListeners = new Set<() => void>()
  readonly #grants = new Set<LeasedGrant>()
  /** Grants that a table was told of and has not noted yet, by request. */
  readonly #holds = new Map<number, LeasedGrant>()
  readonly #cancels = new Set<() => void>()
  readonly #starvation = new Starvation()
  #cancelRetry: () => void = () => {}
  #question: Question | undefined
  #asking = false
  #notBefore = 0
  #lastRequest = 0
  #size: number | undefined
  /** It was not only told so here. */
  #knowsSize: boolean
  #registered = false
  #complete = false
  #closed = false
  /** Nobody answered so many times in a row, and nobody else seemed to import. */
  #unanswered = 0
  #fewestOrphans = Number.POSITIVE_INFINITY
  #turn = Promise.withResolvers<void>()

  constructor(digest: Digest, size: number | undefined, options: MemberOptions) {
    this.digest = digest
    this.#size = size
    this.#knowsSize = size !== undefined
    this.#options = options
    const { clock, self, members, isReachable, isConnected, lineTo } = options
    this.#seats = new Seats({
      digest,
      clock,
      candidates: () => [self.id, ...members().map(({ id }) => id)],
      isReachable,
      isConnected,
      lineTo,
      registration: (insist) => ({ type: 'register', digest, size: this.#size ?? 0, insist, addresses: self.addresses }),
      answerMs: () => answerMs(members().length),
      hear: (seat, message) => this.#hear(seat, message),
      onLost: (seat) => this.#lost(seat),
      onChange: () => this.#changed(),
    })
    const delayMs = registrationDelayMs(members().length, options.random)
    if (delayMs === 0 || this.#seats.nearby) this.#register()
    else this.#cancels.add(clock.after(delayMs, () => this.#register()))
  }

  #register(): void {
    const { clock, members } = this.#options
    this.#registered = true
    this.#seats.fill()
    this.#cancels.add(clock.after(answerMs(members().length), () => this.#introduced.resolve()))
  }

  get introduced(): Promise<void> {
    return this.#introduced.promise
  }

  get size(): number | undefined {
    return this.#size
  }

  onMember(listener: (peer: PeerRef) => void): () => void {
    this.#memberListeners.add(listener)
    for (const peer of this.#peers.values()) listener(peer)
    return () => this.#memberListeners.delete(listener)
  }

  onChange(listener: () => void): () => void {
    this.#changeListeners.add(listener)
    return () => this.#changeListeners.delete(listener)
  }

  async ask(
    orphans: readonly number[],
    size: number | undefined,
    { signal }: { signal: AbortSignal },
  ): Promise<Grant | undefined> {
    signal.throwIfAborted()
    const idle = size !== undefined && orphans.length === 0
    if (!this.#registered || this.#asking || this.#closed || idle || this.#options.clock.now() < this.#notBefore) return undefined
    if (size !== undefined) this.#learn(size)
    this.#asking = true
    const abort = () => this.#wake()
    signal.addEventListener('abort', abort, { once: true })
    try {
      return await this.#askAround(orphans, size, signal)
    } finally {
      signal.removeEventListener('abort', abort)
      this.#asking = false
    }
  }

  complete(): void {
    if (this.#complete || this.#closed) return
    this.#complete = true
    this.#sayToAll({ type: 'unregister', digest: this.digest, complete: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    for (const cancel of this.#cancels) cancel()
    this.#cancelRetry()
    for (const grant of [...this.#grants]) grant.end({ ok: false })
    if (!this.#complete) this.#sayToAll({ type: 'unregister', digest: this.digest, complete: false })
    this.#seats.close()
    this.#introduced.resolve()
    this.#question?.answer('silent')
    this.#wake()
    this.#options.onClose(this)
  }

  /** Asks whoever is the rendezvous, then whoever is after it; and nobody when none of them answers in time. */
  async #askAround(orphans: readonly number[], size: number | undefined, signal: AbortSignal): Promise<Grant | undefined> {
    const { clock, members } = this.#options
    const deadline = clock.now() + 2 * answerMs(members().length)
    const cancel = clock.after(deadline - clock.now(), () => this.#wake())
    try {
      this.#seats.fill()
      while (!this.#closed) {
        signal.throwIfAborted()
        const seat = this.#seats.choose()
        if (seat === undefined || clock.now() >= deadline) return this.#unheard(orphans, size)
        if (!seat.answered) {
          await this.#turn.promise
          continue
        }
        const answer = await this.#askAt(seat, orphans, size, signal)
        if (answer === 'wait')
          return this.#starvation.waiting(orphans.length, clock.now()) ? this.#alone(orphans, size) : undefined
        if (answer === 'silent') continue
        if (size === undefined || answer.size === size) return this.#granted(answer, seat)
        this.#giveBack(seat, answer)
        this.#seats.fellSilent(seat)
      }
      return undefined
    } finally {
      cancel()
    }
  }

  async #askAt(
    seat: Seat,
    orphans: readonly number[],
    size: number | undefined,
    signal: AbortSignal,
  ): Promise<GrantMessage | 'wait' | 'silent'> {
    const { clock } = this.#options
    const request = this.#nextRequest()
    const ranges =
      size === undefined ? [] : runsOf(orphans, MAX_RANGES).map(({ first, last }) => ({ first, count: last - first + 1 }))
    const { promise, resolve, reject } = Promise.withResolvers<GrantMessage | 'wait' | 'silent'>()
    this.#question = { request, seat, answer: resolve }
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    const cancel = clock.after(answerMs(this.#options.members().length), () => this.#seats.fellSilent(seat))
    seat.line.say({ type: 'ask', digest: this.digest, request, size: size ?? 0, ranges })
    try {
      return await promise
    } finally {
      cancel()
      signal.removeEventListener('abort', onAbort)
      this.#question = undefined
    }
  }

  #hear(seat: Seat, message: CounterMessage): void {
    switch (message.type) {
      case 'members':
        this.#meet(seat, message)
        return
      case 'grant':
        this.#onGrant(seat, message)
        return
      case 'wait':
        this.#onWait(message.request, message.retryMs)
        return
      case 'redirect': {
        const { id, addresses } = message.peer
        this.#options.lineTo(id, addresses)
        this.#seats.redirect(seat, id)
      }
    }
  }

  #meet(seat: Seat, { size, active, peers }: Extract<CounterMessage, { type: 'members' }>): void {
    const first = !seat.answered
    seat.answered = true
    seat.active ||= active
    if (size > 0 && size !== this.#size && !this.#knowsSize) {
      this.#size = size
      this.#notBefore = 0
      this.#tell()
    }
    for (const peer of peers) {
      if (peer.id === this.#options.self.id) continue
      const known = this.#peers.has(peer.id)
      this.#peers.set(peer.id, peer)
      if (!known) for (const listener of this.#memberListeners) listener(peer)
    }
    if (!first) return
    for (const grant of this.#grants) this.#note(grant, seat)
    this.#changed()
  }

  #onGrant(seat: Seat, message: GrantMessage): void {
    seat.active = true
    const held = this.#holds.get(message.request)
    this.#holds.delete(message.request)
    if (held !== undefined) held.noted(seat.line, message.lease)
    else if (this.#question?.request === message.request) this.#question.answer(message)
    // too late: it went elsewhere
    else this.#giveBack(seat, message)
  }

  #giveBack(seat: Seat, { lease }: GrantMessage): void {
    seat.line.say({ type: 'end', digest: this.digest, lease, done: true, retryAfterMs: 0 })
  }

  #onWait(request: number, retryMs: number): void {
    if (this.#holds.delete(request)) return
    if (request !== 0 && this.#question?.request !== request) return
    this.#askAgainIn(retryMs)
    if (request !== 0) this.#question?.answer('wait')
  }

  #granted({ lease, size, first, count }: GrantMessage, seat: Seat): Grant {
    if (size > 0) this.#size = size
    const grant = this.#createGrant(size === 0 ? undefined : size, { first, last: size === 0 ? OPEN_LAST : first + count - 1 })
    grant.noted(seat.line, lease)
    for (const other of this.#seats.all()) if (other !== seat && other.answered) this.#note(grant, other)
    return grant
  }

  /** Nobody answers. In a large zone few act alone at first, and none that see others import. */
  #unheard(orphans: readonly number[], size: number | undefined): Grant | undefined {
    const zone = this.#options.members().length
    if (orphans.length < this.#fewestOrphans) this.#unanswered = 0
    this.#fewestOrphans = orphans.length
    return mayActAlone(zone, this.#unanswered++, this.#options.random) ? this.#alone(orphans, size) : undefined
  }

  /** Nobody answers. Others may be in the same position, so where to begin is left to chance. */
  #alone(orphans: readonly number[], size: number | undefined): Grant | undefined {
    if (this.#grants.size >= maxLeases(this.#options.members().length + 1)) return undefined
    if (size === undefined) return this.#createGrant(undefined, { first: 0, last: OPEN_LAST })
    const start = this.#options.members().length === 0 ? 0 : Math.floor(this.#options.random() * orphans.length)
    const run = firstRun(orphans.slice(start), leasePieces(geometryOf(size)))
    return run && this.#createGrant(size, run)
  }

  #createGrant(size: number | undefined, run: { first: number; last: number }): LeasedGrant {
    const { clock } = this.#options
    this.#starvation.fed()
    const again = () => this.#askAgainIn(0)
    const onSize = (learnt: number) => this.#learn(learnt)
    const onEnd = (ended: LeasedGrant) => {
      this.#grants.delete(ended)
      again()
    }
    const grant = new LeasedGrant({ digest: this.digest, size, run, clock, onSize, onProgress: again, onEnd })
    this.#grants.add(grant)
    return grant
  }

  /** Lets another table know, so that it goes on from here when the first is gone. */
  #note(grant: LeasedGrant, seat: Seat): void {
    const request = this.#nextRequest()
    this.#holds.set(request, grant)
    seat.line.say(grant.holding(request))
  }

  #learn(size: number): void {
    this.#size = size
    this.#knowsSize = true
  }

  #lost(seat: Seat): void {
    for (const grant of this.#grants) grant.forget(seat.line)
    if (this.#question?.seat === seat) this.#question.answer('silent')
    this.#askAgainIn(0)
  }

  #changed(): void {
    if (this.#question?.seat.silent === true) this.#question.answer('silent')
    if (this.#seats.all().every((seat) => seat.answered)) this.#introduced.resolve()
    this.#wake()
  }

  #askAgainIn(ms: number): void {
    const { clock } = this.#options
    this.#cancelRetry()
    this.#notBefore = ms === 0 ? 0 : clock.now() + ms
    if (this.#closed) return
    this.#cancelRetry = clock.after(ms, () => this.#tell())
  }

  #tell(): void {
    for (const listener of this.#changeListeners) listener()
  }

  #wake(): void {
    this.#turn.resolve()
    this.#turn = Promise.withResolvers()
  }

  #sayToAll(message: MemberMessage): void {
    for (const seat of this.#seats.all()) if (seat.answered) seat.line.say(message)
  }

  #nextRequest(): number {
    this.#lastRequest = this.#lastRequest === 0xffff_ffff ? 1 : this.#lastRequest + 1
    return this.#lastRequest
  }
}
