/** Notices that a node waits and nothing comes. */
export class Starvation {
  readonly #patienceMs: number
  #since: number | undefined
  #fewest = Number.POSITIVE_INFINITY
  #starved = false

  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs
  }

  /** It waits, with so many pieces that nobody brings, if that is known. @returns whether that has gone on for too long */
  waiting(orphans: number | undefined, now: number): boolean {
    const left = orphans ?? Number.POSITIVE_INFINITY
    if (left < this.#fewest) this.#since = now
    this.#fewest = Math.min(this.#fewest, left)
    this.#since ??= now
    this.#starved ||= now - this.#since > this.#patienceMs
    return this.#starved
  }

  /** Something was granted. */
  fed(): void {
    this.#starved = false
    this.#since = undefined
    this.#fewest = Number.POSITIVE_INFINITY
  }
}
