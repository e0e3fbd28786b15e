import { type Claim, pageClaims } from '../../protocols/claim/codec.ts'
import type { Digest } from '../../protocols/digest.ts'
import { createFrameDecoder, encodeFrame } from '../../protocols/frame.ts'
import { decodeSwarmMessage, encodeSwarmMessage, type SwarmMessage } from '../../protocols/swarm/codec.ts'
import { MAX_SWARM_MESSAGE_BYTES } from '../../protocols/swarm/limits.ts'
import { ShoalError } from '../errors.ts'
import { Allowance } from '../net/allowance.ts'
import type { Channel } from '../net/channel.ts'
import { fitting } from './claims.ts'
import { Outbox } from './outbox.ts'
import type { StateFrame, SubscriptionParts } from './subscriptions.ts'

/** News that may wait for a peer that reads slowly; beyond, it gets the state once it has caught up. */
const MAX_QUEUED_BYTES = 256 * 1024

export interface SubscriberParts extends SubscriptionParts {
  readonly stateOf: (digest: Digest) => Promise<StateFrame>
  readonly onWanted: (digest: Digest) => void
  readonly onUnwanted: (digest: Digest) => void
}

interface Want {
  readonly digest: Digest
  /** What the peer was last told; `undefined` while it waits for a state. */
  told: 'none' | 'partial' | 'complete' | undefined
  /** Something changed while the state was being looked up. */
  outdated: boolean
}

/** The answering side of one control stream. Its messages are dealt with one after the other; meanwhile the peer is held back. */
export class Subscriber {
  readonly #channel: Channel
  readonly #parts: SubscriberParts
  readonly #outbox: Outbox
  readonly #wants = new Map<string, Want>()
  readonly #rechecks: Allowance
  #catchingUp: Promise<void> | undefined

  constructor(channel: Channel, parts: SubscriberParts) {
    this.#channel = channel
    this.#parts = parts
    this.#outbox = new Outbox(channel, parts.now)
    this.#rechecks = new Allowance({ burst: parts.limits.recheckBurst, everyMs: parts.limits.recheckEveryMs }, parts.now())
  }

  get peerId(): string {
    return this.#channel.peerId
  }

  digests(): Digest[] {
    return [...this.#wants.values()].map((want) => want.digest)
  }

  async serve(): Promise<void> {
    let arrived: SwarmMessage[] = []
    const decode = createFrameDecoder(MAX_SWARM_MESSAGE_BYTES, (frame) => arrived.push(decodeSwarmMessage(frame)))
    await this.#channel.read((chunk) => {
      decode.push(chunk)
      if (arrived.length === 0) return undefined
      const messages = arrived
      arrived = []
      return this.#dealWith(messages)
    })
    await this.#outbox.flushed()
  }

  /** @returns false when the peer needs the state instead */
  tellHave(digest: Digest, frame: Uint8Array): boolean {
    const want = this.#wants.get(digest.toString())
    if (want === undefined || want.told === 'complete') return true
    if (want.told === undefined) {
      want.outdated = true
      return true
    }
    if (want.told === 'none') return false
    if (this.#outbox.queuedBytes > MAX_QUEUED_BYTES) this.#fallBehind(want)
    else this.#outbox.push(frame)
    return true
  }

  tellState(digest: Digest, state: StateFrame): void {
    const want = this.#wants.get(digest.toString())
    if (want === undefined || state.message.type !== 'state') return
    if (this.#outbox.queuedBytes > MAX_QUEUED_BYTES) {
      this.#fallBehind(want)
      return
    }
    if (want.told === 'none' && state.message.holding === 'none') return
    want.told = state.message.holding
    this.#outbox.push(state.bytes)
  }

  tick(now: number): void {
    const since = this.#outbox.blockedSince
    if (since !== undefined && now - since > this.#parts.limits.stallMs) {
      this.abort(new ShoalError('PEER_TIMEOUT', `${this.peerId} does not read what it asked to be told`))
    }
  }

  abort(reason: Error): void {
    this.#channel.abort(reason)
  }

  async #dealWith(messages: readonly SwarmMessage[]): Promise<void> {
    for (const message of messages) {
      if (this.#outbox.queuedBytes > MAX_QUEUED_BYTES) await this.#outbox.flushed()
      switch (message.type) {
        case 'want':
          await this.#onWant(message.digest)
          break
        case 'unwant':
          if (this.#wants.delete(message.digest.toString())) this.#parts.onUnwanted(message.digest)
          break
        case 'get-claims':
          await this.#onGetClaims(message.digest, message.first, message.count)
          break
        case 'bad-piece':
          this.#onBadPiece(message.digest, message.index)
          break
        default:
          throw new ShoalError('MESSAGE_MALFORMED', `a "${message.type}" message where questions are due`)
      }
    }
  }

  async #onWant(digest: Digest): Promise<void> {
    const { limits, admits, stateOf, onWanted } = this.#parts
    const key = digest.toString()
    const want: Want = this.#wants.get(key) ?? { digest, told: undefined, outdated: false }
    if (!admits(this.peerId)) {
      this.#outbox.push(
        encodeFrame(encodeSwarmMessage({ type: 'state', digest, holding: 'none', size: 0, have: undefined, load: 0 })),
      )
      return
    }
    const kept = this.#wants.has(key) || this.#wants.size < limits.wantsPerPeer
    want.told = undefined
    if (kept) {
      this.#wants.set(key, want)
      onWanted(digest)
    }
    do {
      want.outdated = false
      const { bytes, message } = await stateOf(digest)
      if (message.type !== 'state') return
      want.told = message.holding
      this.#outbox.push(bytes)
      if (want.outdated) want.told = undefined
    } while (want.outdated)
  }

  async #onGetClaims(digest: Digest, first: number, count: number): Promise<void> {
    const pages = pageClaims(fitting(await this.#claims(digest, first, count), count))
    if (pages.length === 0) pages.push([])
    for (const [i, claims] of pages.entries()) {
      this.#outbox.push(encodeFrame(encodeSwarmMessage({ type: 'claims', digest, claims, more: i < pages.length - 1 })))
      if (this.#outbox.queuedBytes > MAX_QUEUED_BYTES) await this.#outbox.flushed()
    }
  }

  async #claims(digest: Digest, first: number, count: number): Promise<readonly Claim[]> {
    const { shelf, admits, log } = this.#parts
    if (!admits(this.peerId)) return []
    try {
      const loan = await shelf.borrow(digest)
      if (loan === undefined) return []
      try {
        const { holding } = loan
        const left = holding.have.length - first
        return left > 0 ? await holding.claims(first, Math.min(count, left)) : []
      } finally {
        loan.giveBack()
      }
    } catch (error) {
      log.warn({ digest: String(digest), err: error }, 'claims could not be read for a peer')
      return []
    }
  }

  /** Not waited for: the peer's other messages are not held up by a disk. */
  #onBadPiece(digest: Digest, index: number): void {
    if (!this.#rechecks.take(this.#parts.now())) return
    this.#recheck(digest, index).catch((error: unknown) => {
      this.#parts.log.warn({ digest: String(digest), index, err: error }, 'a piece that a peer called wrong could not be re-read')
    })
  }

  async #recheck(digest: Digest, index: number): Promise<void> {
    const loan = await this.#parts.shelf.borrow(digest)
    if (loan === undefined) return
    try {
      if (!loan.holding.have.has(index) || (await loan.holding.recheck(index))) return
      this.#parts.log.warn(
        { digest: String(digest), index, peerId: this.peerId },
        'a piece that a peer called wrong was wrong on disk',
      )
      this.#parts.onShrunk(digest)
    } finally {
      loan.giveBack()
    }
  }

  #fallBehind(want: Want): void {
    want.told = undefined
    want.outdated = true
    this.#catchingUp ??= this.#catchUp()
  }

  async #catchUp(): Promise<void> {
    await this.#outbox.flushed()
    this.#catchingUp = undefined
    for (const want of [...this.#wants.values()]) {
      if (!want.outdated || want.told !== undefined) continue
      want.outdated = false
      const state = await this.#parts.stateOf(want.digest)
      this.tellState(want.digest, state)
    }
  }
}
