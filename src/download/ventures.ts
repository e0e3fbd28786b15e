import type { Spare } from './spare.ts'

interface Venture {
  requests: number
  bytes: number
  lostBytes: number
}

/** The requests of one download that are open on the wire, by piece: what is ventured on one is so until the last of them is over. */
export class Ventures {
  readonly #spare: Spare
  readonly #open = new Map<number, Venture>()

  constructor(spare: Spare) {
    this.#spare = spare
  }

  /**
   * A piece is asked for, with so many bytes at stake if it is not the only time.
   * @returns to be told when nothing more can come for it, and what came in vain; it listens once
   */
  begin(index: number, bytes: number): (lostBytes: number) => void {
    const venture = this.#open.get(index) ?? { requests: 0, bytes: 0, lostBytes: 0 }
    this.#open.set(index, venture)
    venture.requests++
    venture.bytes += bytes
    this.#spare.venture(bytes)
    let over = false
    return (lostBytes) => {
      if (over) return
      over = true
      venture.lostBytes += lostBytes
      if (--venture.requests > 0) return
      this.#open.delete(index)
      this.#spare.settle(venture.bytes, venture.lostBytes)
    }
  }
}
