/** How long a sample counts, at least; at most twice that. */
const WINDOW_MS = 60_000

/** The least of the samples of the last seconds: a delay without the queues on its way. */
export class Shortest {
  #since = Number.NEGATIVE_INFINITY
  #before: number | undefined
  #now: number | undefined

  add(value: number, now: number): void {
    if (now - this.#since > WINDOW_MS) {
      this.#before = now - this.#since > 2 * WINDOW_MS ? undefined : this.#now
      this.#now = undefined
      this.#since = now
    }
    this.#now = Math.min(this.#now ?? value, value)
  }

  get value(): number | undefined {
    if (this.#before === undefined || this.#now === undefined) return this.#now ?? this.#before
    return Math.min(this.#before, this.#now)
  }
}
