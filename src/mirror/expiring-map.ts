/** Bounded in number and time: what is too old is gone, and when it is full the oldest entry goes. */
export class ExpiringMap<V> {
  readonly #entries = new Map<string, { readonly value: V; readonly until: number }>()
  readonly #limit: number
  readonly #now: () => number

  /** @param now monotonic milliseconds */
  constructor(limit: number, now: () => number) {
    this.#limit = limit
    this.#now = now
  }

  get(key: string): V | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    if (entry.until > this.#now()) return entry.value
    this.#entries.delete(key)
    return undefined
  }

  set(key: string, value: V, lifeMs: number): void {
    this.#entries.delete(key)
    if (lifeMs <= 0) return
    if (this.#entries.size >= this.#limit) this.#entries.delete(this.#entries.keys().next().value as string)
    this.#entries.set(key, { value, until: this.#now() + lifeMs })
  }

  delete(key: string): void {
    this.#entries.delete(key)
  }
}
