/** Longer than any pause that an origin may ask for. */
const STARVED_MS = 35_000

/** Notices that a node is told to wait and nothing comes: whoever says so is then not obeyed any more, until it grants something. */
export class Starvation {
  #since: number | undefined
  #fewest = Number.POSITIVE_INFINITY
  #starved = false

  /** Told to wait, with so many pieces that nobody brings. @returns whether that has gone on for too long */
  waiting(orphans: number, now: number): boolean {
    if (orphans < this.#fewest) this.#since = now
    this.#fewest = Math.min(this.#fewest, orphans)
    this.#since ??= now
    this.#starved ||= now - this.#since > STARVED_MS
    return this.#starved
  }

  /** Something was granted. */
  fed(): void {
    this.#starved = false
    this.#since = undefined
    this.#fewest = Number.POSITIVE_INFINITY
  }
}
