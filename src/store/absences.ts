const MAX_KEYS = 8_192

/** Keys that the catalog is known not to have: peers ask for far more than a node holds, and many ask for the same. Bounded: the oldest goes. */
export class Absences {
  readonly #keys = new Set<string>()
  #changes = 0

  /** Counts up with whatever is written: what was read before says nothing of afterwards. */
  get changes(): number {
    return this.#changes
  }

  has(key: string): boolean {
    return this.#keys.has(key)
  }

  /** A read found nothing. @param changes as they were when it began */
  add(key: string, changes: number): void {
    if (changes !== this.#changes) return
    this.#keys.add(key)
    if (this.#keys.size > MAX_KEYS) this.#keys.delete(this.#keys.keys().next().value as string)
  }

  written(key: string): void {
    this.#changes++
    this.#keys.delete(key)
  }
}
