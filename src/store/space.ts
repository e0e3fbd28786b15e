import { statfs } from 'node:fs/promises'

const FRESH_MS = 1000

/** How much content a disk still has room for, short of what is kept free for the catalog. */
export class Space {
  readonly reserveBytes: number
  readonly #path: string
  #freeBytes = 0
  #readAt = Number.NEGATIVE_INFINITY

  private constructor(path: string, reserveBytes: number) {
    this.#path = path
    this.reserveBytes = reserveBytes
  }

  /** @param reserveBytes kept free, but no more than a twentieth of the disk */
  static async open(path: string, reserveBytes: number): Promise<Space> {
    const { blocks, bsize } = await statfs(path)
    return new Space(path, Math.min(reserveBytes, Math.floor((blocks * bsize) / 20)))
  }

  /** Bytes, as of at most a second ago. */
  async room(): Promise<number> {
    const now = performance.now()
    if (now - this.#readAt > FRESH_MS) {
      const { bavail, bsize } = await statfs(this.#path)
      this.#freeBytes = bavail * bsize
      this.#readAt = now
    }
    return this.#freeBytes - this.reserveBytes
  }
}
