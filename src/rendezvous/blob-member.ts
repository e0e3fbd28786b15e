import type { Digest } from '../../protocols/digest.ts'
import type { CounterMessage } from '../../protocols/rendezvous/codec.ts'
import { MAX_RANGES } from '../../protocols/rendezvous/limits.ts'
import type { Clock } from '../clock.ts'
import type { PeerRef } from '../net/host.ts'
import { nodesAtDesk } from './desks.ts'
import { type Answer, type GrantMessage, Inquiry } from './inquiry.ts'
import { LastResort } from './last-resort.ts'
import { LeasedGrant } from './leased-grant.ts'
import type { Line } from './line.ts'
import { Listeners } from './listeners.ts'
import { Others } from './others.ts'
import { answerMs, maxLeases, OPEN_LAST, stillMs } from './policy.ts'
import { fromTheMiddle, runsOf } from './ranges.ts'
import { Registration } from './registration.ts'
import type { Grant, Membership } from './rendezvous.ts'
import type { Seat, Seats } from './seats.ts'
import { Starvation } from './starvation.ts'

/** Who has answered before is alive, and its answers stand behind pieces: so many times as long is waited for the first to be asked. */
const ANSWER_TIMES = 2
/** Whoever is told to wait for longer asks again nevertheless: whether the wait is in vain shows sooner so. */
const MAX_OBEYED_MS = 5_000
/** Whoever tells one to wait for longer than any origin's pause, and nothing comes, is not obeyed any more until it grants something. */
const STARVED_MS = 35_000

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
  /** Members that are not to be the rendezvous of this blob. */
  readonly caught?: () => ReadonlySet<string>
  readonly onClose: (member: BlobMember) => void
}

/** This node as a member of one blob's swarm: registers, asks, and keeps every table that it deals with in the picture. */
export class BlobMember implements Membership {
  readonly digest: Digest
  readonly #options: MemberOptions
  readonly #registration: Registration
  readonly #seats: Seats
  readonly #introduced = Promise.withResolvers<void>()
  readonly #others: Others
  readonly #changeListeners = new Listeners()
  readonly #grants = new Set<LeasedGrant>()
  /** Grants that a table was told of and has not noted yet, by request. */
  readonly #holds = new Map<number, LeasedGrant>()
  readonly #cancels = new Set<() => void>()
  readonly #starvation = new Starvation(STARVED_MS)
  readonly #stillness: Starvation
  readonly #inquiry: Inquiry
  readonly #lastResort: LastResort
  #cancelRetry: () => void = () => {}
  #asking = false
  #notBefore = 0
  #size: number | undefined
  /** It was not only told so here. */
  #knowsSize: boolean
  #registered = false
  #complete = false
  #closed = false
  #turn = Promise.withResolvers<void>()

  constructor(digest: Digest, size: number | undefined, options: MemberOptions) {
    this.digest = digest
    this.#size = size
    this.#knowsSize = size !== undefined
    this.#options = options
    this.#others = new Others(options.self.id)
    this.#inquiry = new Inquiry(options.clock)
    this.#lastResort = new LastResort(options.random)
    this.#stillness = new Starvation(stillMs(options.members().length, options.random))
    this.#registration = new Registration({
      ...options,
      isReachable: (peerId) => !this.#isCaught(peerId) && options.isReachable(peerId),
      lineTo: (peerId, addresses) => (this.#isCaught(peerId) ? undefined : options.lineTo(peerId, addresses)),
      digest,
      size: () => this.#size ?? 0,
      answerMs: () => this.#answerMs,
      meet: (peers) => this.#others.meet(peers),
      hear: (seat, message) => this.#hear(seat, message),
      onRegister: () => this.#onRegister(),
      onLost: (seat) => this.#lost(seat),
      onChange: () => this.#changed(),
    })
    this.#seats = this.#registration.seats
    this.#cancels.add(this.#registration.begin())
  }

  #onRegister(): void {
    this.#registered = true
    this.#cancels.add(this.#options.clock.after(this.#answerMs, () => this.#introduced.resolve()))
  }

  get #answerMs(): number {
    return answerMs(nodesAtDesk(this.#options.members().length))
  }

  get introduced(): Promise<void> {
    return this.#introduced.promise
  }

  get size(): number | undefined {
    return this.#size
  }

  onMember(listener: (peer: PeerRef) => void): () => void {
    return this.#others.onMember(listener)
  }

  onChange(listener: () => void): () => void {
    return this.#changeListeners.add(listener)
  }

  async ask(
    orphans: readonly number[],
    size: number | undefined,
    { signal }: { signal: AbortSignal },
  ): Promise<Grant | undefined> {
    signal.throwIfAborted()
    this.#dismissCaught()
    const idle = size !== undefined && orphans.length === 0
    if (!this.#registered || this.#asking || this.#closed || idle || this.#options.clock.now() < this.#notBefore) return undefined
    if (size !== undefined) this.#learn(size)
    if (!this.#registration.attends) {
      if (!this.#stillness.waiting(size && orphans.length, this.#options.clock.now())) return undefined
      this.#registration.attend()
    }
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
    this.#registration.say({ type: 'unregister', digest: this.digest, complete: true })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    for (const cancel of this.#cancels) cancel()
    this.#cancelRetry()
    for (const grant of [...this.#grants]) grant.end({ ok: false })
    if (!this.#complete) this.#registration.say({ type: 'unregister', digest: this.digest, complete: false })
    this.#registration.close()
    this.#introduced.resolve()
    this.#inquiry.answer('silent')
    this.#wake()
    this.#options.onClose(this)
  }

  /** Asks whoever is the rendezvous, then whoever is after it; and nobody when none of them answers in time. */
  async #askAround(orphans: readonly number[], size: number | undefined, signal: AbortSignal): Promise<Grant | undefined> {
    const { clock } = this.#options
    const deadline = clock.now() + (ANSWER_TIMES + 1) * this.#answerMs
    const cancel = clock.after(deadline - clock.now(), () => this.#wake())
    try {
      this.#seats.fill()
      while (!this.#closed) {
        signal.throwIfAborted()
        const seat = this.#seats.choose()
        if (seat === undefined || clock.now() >= deadline) return this.#alone(orphans, size)
        if (!seat.answered) {
          await this.#turn.promise
          continue
        }
        const [first] = this.#seats.all()
        const standsIn = first !== seat && first?.silent === true
        const answer = await this.#askAt(
          seat,
          standsIn ? fromTheMiddle(orphans) : orphans,
          size,
          signal,
          standsIn ? 1 : ANSWER_TIMES,
        )
        if (answer === 'wait')
          return this.#starvation.waiting(size && orphans.length, clock.now()) ? this.#alone(orphans, size) : undefined
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
    times: number,
  ): Promise<Answer> {
    const ranges =
      size === undefined ? [] : runsOf(orphans, MAX_RANGES).map(({ first, last }) => ({ first, count: last - first + 1 }))
    return this.#inquiry.put(
      seat,
      { type: 'ask', digest: this.digest, request: this.#inquiry.nextRequest(), size: size ?? 0, ranges },
      { answerMs: times * this.#answerMs, onOverdue: () => this.#seats.fellSilent(seat), signal },
    )
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
      case 'redirect':
        this.#seats.redirect(seat, message.peer)
    }
  }

  #meet(seat: Seat, { size, active, peers }: Extract<CounterMessage, { type: 'members' }>): void {
    const first = !seat.answered
    seat.answered = true
    seat.active ||= active
    if (size > 0 && size !== this.#size && !this.#knowsSize) {
      this.#size = size
      this.#notBefore = 0
      this.#changeListeners.tell()
    }
    this.#others.meet(peers)
    if (!first) return
    for (const grant of this.#grants) this.#note(grant, seat)
    this.#changed()
  }

  #onGrant(seat: Seat, message: GrantMessage): void {
    seat.active = true
    const held = this.#holds.get(message.request)
    this.#holds.delete(message.request)
    if (held !== undefined) held.noted(seat.line, message.lease)
    else if (this.#inquiry.is(message.request)) this.#inquiry.answer(message)
    // too late: it went elsewhere
    else this.#giveBack(seat, message)
  }

  #giveBack(seat: Seat, { lease }: GrantMessage): void {
    seat.line.say({ type: 'end', digest: this.digest, lease, done: true, retryAfterMs: 0 })
  }

  #onWait(request: number, retryMs: number): void {
    if (this.#holds.delete(request)) return
    if (request !== 0 && !this.#inquiry.is(request)) return
    this.#askAgainIn(Math.min(retryMs, MAX_OBEYED_MS))
    if (request !== 0) this.#inquiry.answer('wait')
  }

  #granted({ lease, size, first, count }: GrantMessage, seat: Seat): Grant {
    this.#starvation.fed()
    if (size > 0) this.#size = size
    const grant = this.#createGrant(size === 0 ? undefined : size, { first, last: size === 0 ? OPEN_LAST : first + count - 1 })
    grant.noted(seat.line, lease)
    for (const other of this.#seats.all()) if (other !== seat && other.answered) this.#note(grant, other)
    return grant
  }

  /** Nobody answers. */
  #alone(orphans: readonly number[], size: number | undefined): Grant | undefined {
    const zone = this.#options.members().length
    const run = this.#grants.size >= maxLeases(zone + 1) ? undefined : this.#lastResort.choose(orphans, size, zone)
    return run && this.#createGrant(size, run)
  }

  #createGrant(size: number | undefined, run: { first: number; last: number }): LeasedGrant {
    const { clock } = this.#options
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
    const request = this.#inquiry.nextRequest()
    this.#holds.set(request, grant)
    seat.line.say(grant.holding(request))
  }

  #learn(size: number): void {
    this.#size = size
    this.#knowsSize = true
  }

  #isCaught(peerId: string): boolean {
    return this.#options.caught?.().has(peerId) === true
  }

  /** Who was found to lie about the blob does not say who imports it. */
  #dismissCaught(): void {
    const caught = this.#options.caught?.()
    if (caught === undefined || caught.size === 0) return
    for (const seat of this.#seats.dismiss(caught)) this.#lost(seat)
  }

  #lost(seat: Seat): void {
    for (const grant of this.#grants) grant.forget(seat.line)
    if (this.#inquiry.seat === seat) this.#inquiry.answer('silent')
    this.#askAgainIn(0)
  }

  #changed(): void {
    if (this.#inquiry.seat?.silent === true) this.#inquiry.answer('silent')
    if (this.#registration.answered) this.#introduced.resolve()
    this.#wake()
  }

  #askAgainIn(ms: number): void {
    const { clock } = this.#options
    this.#cancelRetry()
    this.#notBefore = ms === 0 ? 0 : clock.now() + ms
    if (this.#closed) return
    this.#cancelRetry = clock.after(ms, () => this.#changeListeners.tell())
  }

  #wake(): void {
    this.#turn.resolve()
    this.#turn = Promise.withResolvers()
  }
}
