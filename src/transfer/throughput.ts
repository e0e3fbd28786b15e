/** How fast what is remembered of the past fades: the throughput is that of about the last second of work. */
const MEMORY_MS = 1_000

/** Bytes over the time in which there was something to wait for. Times are monotonic milliseconds, given by the caller. */
export class Throughput {
  #busy = 0
  #markedAt = 0
  #bytes = 0
  #elapsedMs = 0

  /** Something is waited for. @returns whether nothing was */
  begin(now: number): boolean {
    const idle = this.#busy++ === 0
    if (idle) this.#markedAt = now
    return idle
  }

  end(): void {
    this.#busy--
  }

  /** Bytes came. */
  add(bytes: number, now: number): void {
    const elapsed = Math.max(0, now - this.#markedAt)
    this.#markedAt = now
    const fade = Math.exp(-elapsed / MEMORY_MS)
    this.#bytes = this.#bytes * fade + bytes
    this.#elapsedMs = this.#elapsedMs * fade + elapsed
  }

  /** What the figure rests on. */
  get bytes(): number {
    return this.#bytes
  }

  get bytesPerSecond(): number | undefined {
    return this.#elapsedMs > 0 ? (this.#bytes / this.#elapsedMs) * 1_000 : undefined
  }
}
