import type { Bitfield } from '../../protocols/bitfield.ts'
import type { Claim } from '../../protocols/claim/codec.ts'
import type { Digest } from '../../protocols/digest.ts'
import type { PieceHead } from '../../protocols/piece/codec.ts'
import { PIECE_PROTOCOL } from '../../protocols/piece/limits.ts'
import { geometryOf, pieceLength } from '../../protocols/pieces.ts'
import type { SwarmMessage } from '../../protocols/swarm/codec.ts'
import { MAX_CLAIMS_PIECES, SWARM_PROTOCOL } from '../../protocols/swarm/limits.ts'
import { codeOf, type ErrorCode, ShoalError } from '../errors.ts'
import type { Host, PeerRef } from '../net/host.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { Asker } from './ask.ts'
import { ClaimCheck } from './claim-check.ts'
import { Inquirer } from './inquire.ts'
import { Interest } from './interest.ts'
import type { TransferLimits } from './limits.ts'
import { Line } from './line.ts'
import { Pace } from './pace.ts'
import { Retries } from './retries.ts'
import type { PieceArrival, RequestOptions } from './transfer.ts'
import { unlessAborted } from './unless-aborted.ts'

export interface LinkParts {
  readonly host: Host
  readonly limits: TransferLimits
  readonly metrics: Metrics
  readonly log: Log
  readonly now: () => number
  readonly random: () => number
  readonly verify: (claim: Claim) => Promise<boolean>
}

/**
 * What this node asks of one peer, over all blobs: a control stream and a data stream that we open when first needed.
 * Losing either with something at stake fails everything that was outstanding, and every interest; `retry` starts anew.
 */
export class Link {
  readonly #parts: LinkParts
  readonly #control: Line<Inquirer>
  readonly #data: Line<Asker>
  readonly #interests = new Map<string, Interest & { users: number }>()
  /** Told to the peer with the next message, or after a moment: it costs nothing then. */
  readonly #unwanted = new Map<string, Digest>()
  readonly pace: Pace
  peer: PeerRef
  load = 0
  outstandingPieces = 0
  outstandingBytes = 0
  receivedBytes = 0
  usedAt: number
  #wantedAt: number | undefined
  readonly #retries = new Retries()
  readonly #claims: ClaimCheck

  constructor(peer: PeerRef, parts: LinkParts) {
    const { host, limits, now } = parts
    this.peer = peer
    this.#parts = parts
    this.usedAt = now()
    this.pace = new Pace(limits)
    const onDown = (reason: unknown) => this.#down(reason)
    this.#claims = new ClaimCheck({ peerId: peer.id, verify: parts.verify, onForged: onDown })
    const onBytes = (bytes: number) => {
      this.receivedBytes += bytes
    }
    const onWasted = (bytes: number) => parts.metrics.wasted(bytes)
    const hear = (message: Parameters<Interest['hear']>[0]) => {
      this.load = message.load
      if (message.type === 'state') this.#heardState()
      this.#retries.answered()
      this.#interests.get(message.digest.toString())?.hear(message)
    }
    this.#control = new Line({
      open: async (signal) =>
        new Inquirer(await host.open(this.peer, SWARM_PROTOCOL, { signal }), { onState: hear, onHave: hear }, now),
      openMs: limits.openMs,
      onDown,
    })
    this.#data = new Line({
      open: async (signal) =>
        new Asker(await host.open(this.peer, PIECE_PROTOCOL, { signal }), { pace: this.pace, now, onBytes, onWasted }),
      openMs: limits.openMs,
      onDown,
    })
  }

  /** Nothing is open, and nobody is interested. */
  get unused(): boolean {
    return this.#interests.size === 0 && this.#control.unused && this.#data.unused
  }

  /** What the peer said that it holds of a blob that we want too. */
  heldOf(digest: Digest): Bitfield | undefined {
    return this.#interests.get(digest.toString())?.have
  }

  /** Wants to be told what the peer holds of a blob, until released as often. */
  want(digest: Digest): Interest {
    const key = digest.toString()
    const known = this.#interests.get(key)
    if (known !== undefined) {
      known.users++
      this.retry(known)
      return known
    }
    const interest = Object.assign(new Interest(digest), { users: 1 })
    this.#interests.set(key, interest)
    this.#unwanted.delete(key)
    this.usedAt = this.#parts.now()
    if (this.#retries.allowed(this.usedAt)) this.#ask(interest)
    else interest.state = 'failed'
    return interest
  }

  /** Asks again what has failed, if it is time. */
  retry(interest: Interest): void {
    if (interest.state !== 'failed' || !this.#retries.allowed(this.#parts.now())) return
    interest.become('connecting')
    this.#ask(interest)
  }

  release(interest: Interest): void {
    const key = interest.digest.toString()
    const known = this.#interests.get(key)
    if (known !== interest || --known.users > 0) return
    this.#interests.delete(key)
    this.usedAt = this.#parts.now()
    if (this.#control.session !== undefined && known.state !== 'connecting' && known.state !== 'failed') {
      this.#unwanted.set(key, interest.digest)
    }
  }

  /** @throws as Swarm.request */
  async request(interest: Interest, index: number, into: Uint8Array, options: RequestOptions): Promise<PieceArrival> {
    const { signal, onProgress, onClaim, onOver } = options
    const refusal = signal.aborted ? signal.reason : interest.state === 'failed' ? this.#gone() : undefined
    if (refusal !== undefined) {
      onOver?.(0)
      throw refusal
    }
    this.outstandingPieces++
    this.outstandingBytes += into.length
    try {
      const asker = this.#data.session ?? (await this.#opened(options))
      const { digest } = interest
      const check = onClaim === undefined ? undefined : this.#claims.during(digest, onClaim)
      const head = await asker.ask({ digest, index, into, signal, onProgress, onClaim: check?.begin, onOver })
      const arrival = this.#arrived(head, interest, index, into.length)
      if (check !== undefined) await check.done
      return arrival
    } finally {
      this.outstandingPieces--
      this.outstandingBytes -= into.length
      this.usedAt = this.#parts.now()
      for (const one of this.#interests.values()) one.changed()
    }
  }

  async #opened({ signal, onOver }: RequestOptions): Promise<Asker> {
    try {
      return await unlessAborted(this.#data.get(), signal)
    } catch (error) {
      onOver?.(0)
      throw error
    }
  }

  /** @throws as Swarm.claims */
  async claims(interest: Interest, first: number, count: number, signal: AbortSignal): Promise<readonly Claim[]> {
    signal.throwIfAborted()
    if (interest.state === 'failed') throw this.#gone()
    const inquirer = this.#control.session ?? (await unlessAborted(this.#control.get(), signal))
    const claims = await unlessAborted(inquirer.claims(interest.digest, first, Math.min(count, MAX_CLAIMS_PIECES)), signal)
    const useful = claims.filter((claim) => claim.first < first + count && claim.first + claim.hashes.length > first)
    await unlessAborted(this.#claims.all(claims, interest.digest), signal)
    return useful
  }

  report(digest: Digest, index: number): void {
    this.#send({ type: 'bad-piece', digest, index })
  }

  /** Called every now and then: notices silence, closes what is idle, says what was left to say, tries again what was lost. */
  tick(now: number): void {
    const { silenceMs, idleMs } = this.#parts.limits
    for (const line of [this.#control, this.#data]) {
      const { session } = line
      if (session === undefined) continue
      const quietMs = now - session.heardAt
      if (session.open > 0 && quietMs > silenceMs) {
        this.#down(new ShoalError('PEER_TIMEOUT', `${this.peer.id} owes us an answer and says nothing`))
        return
      }
      const needed = session.open > 0 || (line === this.#control && this.#interests.size > 0)
      if (!needed && quietMs > idleMs && now - this.usedAt > idleMs) void line.close()
    }
    this.#sayUnwanted()
    if (this.#retries.worthwhile(now)) for (const interest of this.#interests.values()) this.retry(interest)
  }

  abort(reason: Error): void {
    this.#control.abort(reason)
    this.#data.abort(reason)
  }

  #ask(interest: Interest): void {
    const inquirer = this.#control.session
    if (inquirer !== undefined) this.#sendWant(interest)
    else {
      this.#control.get().then(
        () => this.#sendWant(interest),
        () => {},
      )
    }
  }

  /** The first answer to a `want` comes before pieces queue on the way: it tells the delay of the path. */
  #heardState(): void {
    if (this.#wantedAt === undefined) return
    const now = this.#parts.now()
    this.pace.delayed(now - this.#wantedAt, now)
    this.#wantedAt = undefined
  }

  #sendWant(interest: Interest): void {
    if (interest.state !== 'connecting' || this.#interests.get(interest.digest.toString()) !== interest) return
    this.#wantedAt ??= this.#parts.now()
    this.#send({ type: 'want', digest: interest.digest })
    interest.become('asked')
  }

  #send(message: SwarmMessage): void {
    this.#sayUnwanted()
    this.#control.session?.send(message)
  }

  #sayUnwanted(): void {
    for (const digest of this.#unwanted.values()) this.#control.session?.send({ type: 'unwant', digest })
    this.#unwanted.clear()
  }

  #arrived(head: PieceHead, interest: Interest, index: number, maxBytes: number): PieceArrival {
    this.load = head.load
    const { status, size, length, mediaType } = head
    if (status === 'ok') {
      this.#retries.answered()
      return { length, size, mediaType }
    }
    if (status === 'busy') this.pace.refused(this.#parts.now(), this.#parts.random)
    if (status === 'lacks') interest.lacks(index)
    if (status === 'too-large') this.#learnSize(interest, index, size, maxBytes)
    throw new ShoalError(CODE_OF[status], `${this.peer.id} answered "${status}" for piece ${index} of ${interest.digest}`)
  }

  #learnSize(interest: Interest, index: number, size: number, maxBytes: number): void {
    const geometry = geometryOf(size)
    if (index < geometry.pieces && pieceLength(geometry, index) > maxBytes) {
      interest.size ??= size
      return
    }
    const error = new ShoalError('MESSAGE_MALFORMED', `${this.peer.id} calls piece ${index} of a blob of ${size} bytes too large`)
    this.#down(error)
    throw error
  }

  #down(reason: unknown): void {
    const error = reason instanceof Error ? reason : this.#gone()
    const code = codeOf(reason)
    if (code === 'PEER_GONE' && this.#interests.size === 0 && this.outstandingPieces === 0) return
    const strike = code === 'MESSAGE_MALFORMED' || code === 'MESSAGE_TOO_LARGE' || code === 'CLAIM_INVALID'
    this.#retries.lost(strike, this.#parts.now())
    this.#parts.log[strike ? 'warn' : 'debug']({ peerId: this.peer.id, code }, `lost a neighbour: ${error.message}`)
    this.#unwanted.clear()
    this.abort(error)
    for (const interest of [...this.#interests.values()]) interest.become('failed')
  }

  #gone(): ShoalError {
    return new ShoalError('PEER_GONE', `no link to ${this.peer.id}`)
  }
}

const CODE_OF: Record<'lacks' | 'busy' | 'refused' | 'too-large', ErrorCode> = {
  lacks: 'PEER_LACKS_PIECE',
  busy: 'PEER_BUSY',
  refused: 'PEER_REFUSED',
  'too-large': 'PEER_LACKS_PIECE',
}
