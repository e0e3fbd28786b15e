import { type BucketLimits, TokenBucket } from '../token-bucket.ts'

const MAX_PEERS = 2_000

/** One bucket for each of the peers that were heard last. */
export class PeerLimits {
  readonly #limits: BucketLimits
  readonly #buckets = new Map<string, TokenBucket>()

  constructor(limits: BucketLimits) {
    this.#limits = limits
  }

  take(peerId: string, now: number): boolean {
    const bucket = this.#buckets.get(peerId) ?? new TokenBucket()
    this.#buckets.delete(peerId)
    this.#buckets.set(peerId, bucket)
    if (this.#buckets.size > MAX_PEERS) this.#buckets.delete(this.#buckets.keys().next().value as string)
    return bucket.take(now, this.#limits)
  }
}
