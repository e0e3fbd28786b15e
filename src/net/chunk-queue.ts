import type { Uint8ArrayList } from 'uint8arraylist'

/** Chunks in arrival order, each as it lies in memory: a list is taken apart, never joined. */
export class ChunkQueue {
  #chunks: Uint8Array[] = []
  #next = 0
  #bytes = 0

  get bytes(): number {
    return this.#bytes
  }

  push(data: Uint8Array | Uint8ArrayList): void {
    this.#bytes += data.byteLength
    if (data instanceof Uint8Array) this.#chunks.push(data)
    else for (const part of data) this.#chunks.push(part)
  }

  shift(): Uint8Array | undefined {
    const chunk = this.#chunks[this.#next]
    if (chunk === undefined) {
      if (this.#next > 0) this.clear()
      return undefined
    }
    this.#chunks[this.#next++] = NONE
    this.#bytes -= chunk.byteLength
    if (this.#next >= COMPACT_AFTER) {
      this.#chunks = this.#chunks.slice(this.#next)
      this.#next = 0
    }
    return chunk
  }

  clear(): void {
    this.#chunks = []
    this.#next = 0
    this.#bytes = 0
  }
}

/** Taken places that may stand empty in front. */
const COMPACT_AFTER = 1024
const NONE = new Uint8Array(0)
