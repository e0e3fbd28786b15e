const WINDOW_MS = 5_000

/** Events per second over about the last five seconds. */
export class RateMeter {
  #windowStart = 0
  #current = 0
  #previous = 0

  count(now: number): void {
    this.#turn(now)
    this.#current++
  }

  perSecond(now: number): number {
    this.#turn(now)
    const past = (now - this.#windowStart) / WINDOW_MS
    return ((this.#previous * (1 - past) + this.#current) * 1000) / WINDOW_MS
  }

  #turn(now: number): void {
    const windows = Math.floor((now - this.#windowStart) / WINDOW_MS)
    if (windows < 1) return
    this.#previous = windows === 1 ? this.#current : 0
    this.#current = 0
    this.#windowStart += windows * WINDOW_MS
  }
}
