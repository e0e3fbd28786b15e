const START_MS = 100
const MAX_MS = 30_000
/** A peer that has never answered is tried so many times; more only when it is named again. */
const FIRST_TRIES = 3
/** A peer that broke the protocol waits as one that failed so many times in a row. */
const STRIKE_FAILURES = 8

/** When a peer that was lost is tried again. Times are monotonic milliseconds. */
export class Retries {
  #failures = 0
  #notBefore = 0
  /** It has answered since the last failure that was its own fault: losing it may be an accident. */
  #worked = false

  answered(): void {
    this.#failures = 0
    this.#worked = true
  }

  /** @param strike it was lost because it broke the protocol */
  lost(strike: boolean, now: number): void {
    this.#failures = strike ? Math.max(STRIKE_FAILURES, this.#failures + 1) : this.#failures + 1
    if (strike) this.#worked = false
    this.#notBefore = now + Math.min(MAX_MS, START_MS * 2 ** (this.#failures - 1))
  }

  /** Whether it may be tried when it is named. */
  allowed(now: number): boolean {
    return now >= this.#notBefore
  }

  /** Whether it is worth trying unasked. */
  worthwhile(now: number): boolean {
    return this.allowed(now) && this.#failures < (this.#worked ? STRIKE_FAILURES : FIRST_TRIES)
  }
}
