/** So many at a time; others wait in turn. */
export class Places {
  readonly #waiting: (() => boolean)[] = []
  #free: number

  constructor(count: number) {
    this.#free = count
  }

  /** @param begin called when there is a place, now or later; returns whether it is used */
  take(begin: () => boolean): void {
    if (this.#free > 0) this.#begin(begin)
    else this.#waiting.push(begin)
  }

  give(): void {
    this.#free++
    while (this.#free > 0) {
      const next = this.#waiting.shift()
      if (next === undefined) return
      this.#begin(next)
    }
  }

  #begin(begin: () => boolean): void {
    this.#free--
    if (!begin()) this.#free++
  }
}
