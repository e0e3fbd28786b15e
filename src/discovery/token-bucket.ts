export interface BucketLimits {
  /** How many at once. */
  readonly burst: number
  /** After how long there is one more. */
  readonly refillMs: number
}

/** Lets `burst` through at once, then one each `refillMs`. The limits may change between calls. */
export class TokenBucket {
  /** Tokens used and not yet refilled. */
  #used = 0
  #at = 0

  take(now: number, limits: BucketLimits): boolean {
    this.#used = Math.max(0, this.#used - (now - this.#at) / limits.refillMs)
    this.#at = now
    if (this.#used > limits.burst - 1) return false
    this.#used++
    return true
  }
}
