import type { Bitfield } from '../../protocols/bitfield.ts'
import type { Digest } from '../../protocols/digest.ts'
import { encodeFrame } from '../../protocols/frame.ts'
import { encodeSwarmMessage, type SwarmMessage } from '../../protocols/swarm/codec.ts'
import { MAX_HAVE_INDICES } from '../../protocols/swarm/limits.ts'
import type { Channel } from '../net/channel.ts'
import type { Log } from '../telemetry/log.ts'
import type { TransferLimits } from './limits.ts'
import type { Loan, Shelf } from './shelf.ts'
import { Subscriber } from './subscriber.ts'
import { gatherMs } from './telling.ts'

export interface SubscriptionParts {
  readonly limits: TransferLimits
  readonly shelf: Shelf
  readonly log: Log
  readonly now: () => number
  readonly admits: (peerId: string) => boolean
  readonly load: () => number
  /** A blob turned out to hold less than we say. */
  readonly onShrunk: (digest: Digest) => void
  /** What a peer says that it holds of a blob, if it has been asked. */
  readonly heldBy: (peerId: string, digest: Digest) => Bitfield | undefined
  /** A peer wants a blob. */
  readonly onWant: (peerId: string, digest: Digest) => void
}

/** What changed of one blob since peers were last told. */
interface News {
  readonly digest: Digest
  readonly indices: number[]
  /** More than new pieces: the state is told anew. */
  afresh: boolean
}

/** Who wants to know what we hold of which blob, and what they were told. */
export class Subscriptions {
  readonly #parts: SubscriptionParts
  readonly #subscribers = new Set<Subscriber>()
  readonly #byDigest = new Map<string, Set<Subscriber>>()
  readonly #news = new Map<string, News>()
  #timer: NodeJS.Timeout | undefined
  /** When the timer tells, and when peers were last told. */
  #tellsAt = Number.POSITIVE_INFINITY
  #toldAt = Number.NEGATIVE_INFINITY

  constructor(parts: SubscriptionParts) {
    this.#parts = parts
  }

  /** Blobs that anybody wants. */
  get size(): number {
    return this.#byDigest.size
  }

  /** Serves one control stream until the peer ends it. */
  async serve(channel: Channel): Promise<void> {
    const subscriber = new Subscriber(channel, {
      ...this.#parts,
      stateOf: (digest) => this.stateOf(digest),
      onWanted: (digest) => this.#wanted(digest, subscriber),
      onUnwanted: (digest) => this.#unwanted(digest, subscriber),
    })
    this.#subscribers.add(subscriber)
    try {
      await subscriber.serve()
    } finally {
      this.#subscribers.delete(subscriber)
      for (const digest of subscriber.digests()) this.#unwanted(digest, subscriber)
    }
  }

  /** We came to hold these pieces. */
  have(digest: Digest, indices: readonly number[]): void {
    const news = this.#newsOf(digest)
    if (news === undefined || news.afresh) return
    news.indices.push(...indices)
    if (news.indices.length > MAX_HAVE_INDICES) news.afresh = true
    if (indices.some((index) => this.#isFirst(digest, index))) this.#tellSoon(true)
  }

  /** What we hold has changed in another way than by new pieces. */
  refresh(digest: Digest): void {
    this.#parts.shelf.forget(digest)
    const news = this.#newsOf(digest)
    if (news !== undefined) news.afresh = true
  }

  tick(now: number): void {
    for (const subscriber of this.#subscribers) subscriber.tick(now)
  }

  abort(reason: Error): void {
    clearTimeout(this.#timer)
    this.#news.clear()
    for (const subscriber of this.#subscribers) subscriber.abort(reason)
  }

  /** The frame that says what we hold now. */
  async stateOf(digest: Digest): Promise<StateFrame> {
    const loan = await this.#borrow(digest)
    const load = this.#parts.load()
    if (loan === undefined) return frameOf({ type: 'state', digest, holding: 'none', size: 0, have: undefined, load })
    try {
      const { size, complete, have } = loan.holding
      if (complete) return frameOf({ type: 'state', digest, holding: 'complete', size, have: undefined, load })
      return frameOf({ type: 'state', digest, holding: 'partial', size, have, load })
    } finally {
      loan.giveBack()
    }
  }

  #newsOf(digest: Digest): News | undefined {
    const key = digest.toString()
    if (!this.#byDigest.has(key)) return undefined
    let news = this.#news.get(key)
    if (news === undefined) {
      news = { digest, indices: [], afresh: false }
      this.#news.set(key, news)
      this.#tellSoon(false)
    }
    return news
  }

  #tellSoon(first: boolean): void {
    const { limits, now } = this.#parts
    const ms = gatherMs({ first, subscribers: this.#subscribers.size, toldMs: now() - this.#toldAt }, limits)
    const at = now() + ms
    if (at >= this.#tellsAt) return
    clearTimeout(this.#timer)
    this.#tellsAt = at
    this.#timer = setTimeout(() => this.#tell(), ms).unref()
  }

  #tell(): void {
    this.#tellsAt = Number.POSITIVE_INFINITY
    this.#toldAt = this.#parts.now()
    const all = [...this.#news.values()]
    this.#news.clear()
    for (const news of all) {
      this.#tellOne(news).catch((error: unknown) => {
        this.#parts.log.warn({ digest: String(news.digest), err: error }, 'peers could not be told what is held')
      })
    }
  }

  /** Encodes once for all, and looks at the store only if somebody needs the state. */
  async #tellOne({ digest, indices, afresh }: News): Promise<void> {
    const subscribers = this.#byDigest.get(digest.toString()) ?? []
    const delta =
      afresh || indices.length === 0 ? undefined : frameOf({ type: 'have', digest, indices, load: this.#parts.load() })
    const news = [...subscribers].filter((s) => delta === undefined || !this.#needless(s.peerId, digest, indices))
    const behind = news.filter((s) => delta === undefined || !s.tellHave(digest, delta.bytes))
    if (behind.length === 0) return
    const state = await this.stateOf(digest)
    for (const subscriber of behind) subscriber.tellState(digest, state)
  }

  /** Nobody else is known to hold it: everybody waits for such news. */
  #isFirst(digest: Digest, index: number): boolean {
    for (const { peerId } of this.#byDigest.get(digest.toString()) ?? []) {
      if (this.#parts.heldBy(peerId, digest)?.has(index) === true) return false
    }
    return true
  }

  /** Who holds these pieces will not ask for them. */
  #needless(peerId: string, digest: Digest, indices: readonly number[]): boolean {
    const have = this.#parts.heldBy(peerId, digest)
    return have !== undefined && indices.every((index) => have.has(index))
  }

  #wanted(digest: Digest, subscriber: Subscriber): void {
    const key = digest.toString()
    const subscribers = this.#byDigest.get(key)
    if (subscribers === undefined) this.#byDigest.set(key, new Set([subscriber]))
    else subscribers.add(subscriber)
    this.#parts.onWant(subscriber.peerId, digest)
  }

  #unwanted(digest: Digest, subscriber: Subscriber): void {
    const key = digest.toString()
    const subscribers = this.#byDigest.get(key)
    subscribers?.delete(subscriber)
    if (subscribers?.size === 0) this.#byDigest.delete(key)
  }

  async #borrow(digest: Digest): Promise<Loan | undefined> {
    try {
      return await this.#parts.shelf.borrow(digest)
    } catch (error) {
      this.#parts.log.warn({ digest: String(digest), err: error }, 'what a peer asked about could not be opened')
      return undefined
    }
  }
}

/** An encoded state, and what it says. */
export interface StateFrame {
  readonly bytes: Uint8Array
  readonly message: SwarmMessage
}

function frameOf(message: SwarmMessage): StateFrame {
  return { bytes: encodeFrame(encodeSwarmMessage(message)), message }
}
