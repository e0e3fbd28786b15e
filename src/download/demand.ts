import type { Bitfield } from '../../protocols/bitfield.ts'

/** One reader's interest: pieces `next … last`, in order; `next` moves on as it reads. */
export interface Reading {
  readonly first: number
  next: number
  readonly last: number
  /** The reader wants the last piece of the blob, which is shown only once the whole digest was verified. */
  readonly whole: boolean
  /** Set when pieces it was shown, or may have been shown by an earlier request, turned out wrong: it must not complete. */
  cut: boolean
}

/** Which pieces the readers of one download want. Pure state. */
export class Demand {
  readonly #pieces: number
  readonly #readings = new Set<Reading>()

  constructor(pieces: number) {
    this.#pieces = pieces
  }

  get readers(): number {
    return this.#readings.size
  }

  /** A reader of pieces `first … last`. Whoever wants the blob's last piece wants all of it: the digest must be verified first. */
  add(first: number, last: number): Reading {
    const reading: Reading = { first, next: first, last, whole: last >= this.#pieces - 1, cut: false }
    this.#readings.add(reading)
    return reading
  }

  delete(reading: Reading): void {
    this.#readings.delete(reading)
  }

  get whole(): boolean {
    for (const reading of this.#readings) if (reading.whole) return true
    return false
  }

  /** The piece nearest to being read by anybody; `undefined` without readers. */
  get earliest(): number | undefined {
    let earliest: number | undefined
    for (const { next } of this.#readings) if (earliest === undefined || next < earliest) earliest = next
    return earliest
  }

  wants(index: number): boolean {
    for (const r of this.#readings) if (r.whole || (index >= r.next && index <= r.last)) return true
    return false
  }

  /** Wanted pieces for which `taken` (held or on the way) is false, ascending. */
  missing(taken: (index: number) => boolean): number[] {
    const missing: number[] = []
    if (this.#readings.size === 0) return missing
    const whole = this.whole
    for (let i = 0; i < this.#pieces; i++) if (!taken(i) && (whole || this.wants(i))) missing.push(i)
    return missing
  }

  /** What readers need within their next `ahead` pieces, nearest first. */
  urgent(taken: (index: number) => boolean, ahead: number): number[] {
    const nearest = new Map<number, number>()
    for (const r of this.#readings) {
      for (let i = r.next; i <= Math.min(r.last, r.next + ahead - 1); i++) {
        if (!taken(i)) nearest.set(i, Math.min(nearest.get(i) ?? Infinity, i - r.next))
      }
    }
    return [...nearest].sort((a, b) => a[1] - b[1] || a[0] - b[0]).map(([index]) => index)
  }

  /** Cuts who has been shown one of these pieces, or reads on where another request that was may have ended. */
  cutAfter(wrong: readonly number[]): void {
    for (const reading of this.#readings) {
      if (wrong.some((index) => index < reading.next || index < reading.first)) reading.cut = true
    }
  }

  satisfied(have: Bitfield): boolean {
    return this.missing((index) => have.has(index)).length === 0
  }
}
