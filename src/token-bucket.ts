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

  /** Takes so many if they are there. */
  take(now: number, limits: BucketLimits, count = 1): boolean {
    if (this.waitMs(now, limits, count) > 0) return false
    this.#used += count
    return true
  }

  /** How long until so many may be taken. More than the bucket holds may be taken from a full one: the rest is owed. */
  waitMs(now: number, limits: BucketLimits, count = 1): number {
    this.#refill(now, limits)
    return Math.max(0, this.#used - limits.burst + Math.min(count, limits.burst)) * limits.refillMs
  }

  /** These went without having been there: what comes later waits for them. Negative to give back. */
  owe(now: number, limits: BucketLimits, count: number): void {
    this.#refill(now, limits)
    this.#used = Math.max(0, this.#used + count)
  }

  #refill(now: number, limits: BucketLimits): void {
    this.#used = Math.max(0, this.#used - (now - this.#at) / limits.refillMs)
    this.#at = now
  }
}
