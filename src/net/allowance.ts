/** A bucket of tokens that fills with time: a burst of so many, then one each so many milliseconds. */
export class Allowance {
  readonly #burst: number
  readonly #everyMs: number
  #tokens: number
  #at: number

  constructor({ burst, everyMs }: { burst: number; everyMs: number }, now: number) {
    this.#burst = burst
    this.#everyMs = everyMs
    this.#tokens = burst
    this.#at = now
  }

  /** @returns whether there was a token left */
  take(now: number): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + (now - this.#at) / this.#everyMs)
    this.#at = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}
