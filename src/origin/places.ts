/** The right to have a request under way; given back once, however often that is said. */
export type Leave = () => void

/** So many places, taken in the order of coming. */
export class Places {
  readonly #waiting = new Set<(leave: Leave) => void>()
  #free: number

  constructor(count: number) {
    this.#free = count
  }

  get waiting(): number {
    return this.#waiting.size
  }

  /** @throws the signal's reason */
  async take({ signal }: { signal: AbortSignal }): Promise<Leave> {
    signal.throwIfAborted()
    if (this.#free > 0) return this.#give()
    const { promise, resolve, reject } = Promise.withResolvers<Leave>()
    const onAbort = () => {
      this.#waiting.delete(resolve)
      reject(signal.reason)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    this.#waiting.add(resolve)
    try {
      return await promise
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  #give(): Leave {
    this.#free--
    let left = false
    return () => {
      if (left) return
      left = true
      this.#free++
      this.#next()
    }
  }

  #next(): void {
    const [first] = this.#waiting
    if (first === undefined) return
    this.#waiting.delete(first)
    first(this.#give())
  }
}
