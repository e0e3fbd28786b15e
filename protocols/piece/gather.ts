/** Gathers one header whose bytes may arrive in any number of chunks. */
export class HeaderGatherer {
  readonly #bytes: Uint8Array
  readonly #lengthOf: (bytes: Uint8Array, filled: number) => number
  #filled = 0

  /** @param lengthOf how many bytes the header has at least, as far as its first `filled` bytes tell; at most `maxBytes` */
  constructor(maxBytes: number, lengthOf: (bytes: Uint8Array, filled: number) => number) {
    this.#bytes = new Uint8Array(maxBytes)
    this.#lengthOf = lengthOf
  }

  get partial(): boolean {
    return this.#filled > 0
  }

  /** Takes what the header still lacks from `chunk`, from `at` on. @returns how many bytes it took */
  take(chunk: Uint8Array, at: number): number {
    let taken = 0
    for (;;) {
      const lacking = this.#lengthOf(this.#bytes, this.#filled) - this.#filled
      const bytes = Math.min(lacking, chunk.length - at - taken)
      if (bytes === 0) return taken
      for (let i = 0; i < bytes; i++) this.#bytes[this.#filled + i] = chunk[at + taken + i] as number
      this.#filled += bytes
      taken += bytes
    }
  }

  /** The header, when it is complete: a view that the next one overwrites. */
  complete(): Uint8Array | undefined {
    if (this.#filled === 0 || this.#filled < this.#lengthOf(this.#bytes, this.#filled)) return undefined
    const header = this.#bytes.subarray(0, this.#filled)
    this.#filled = 0
    return header
  }
}
