import { type Geometry, geometryOf } from '../../protocols/pieces.ts'
import type { Run } from './ranges.ts'

/** Which pieces of a blob of one size are leased, and which were imported by whom and when. Time is an argument. */
export class Ledger {
  readonly geometry: Geometry
  /** By piece: the lease it belongs to, or 0. */
  readonly #lease: Uint32Array
  /** By piece: who imported it (a number of `#numbers`), or 0; and when, in milliseconds since the start. */
  readonly #importer: Uint16Array
  readonly #importedAt: Uint32Array
  readonly #numbers = new Map<string, number>()
  readonly #startedAt: number
  #lastNumber = 0
  #free: number
  #imports = 0
  /** What was last said of the origin: that it ignores ranges. */
  streams = false

  constructor(size: number, now: number) {
    this.geometry = geometryOf(size)
    const { pieces } = this.geometry
    this.#lease = new Uint32Array(pieces)
    this.#importer = new Uint16Array(pieces)
    this.#importedAt = new Uint32Array(pieces)
    this.#startedAt = now
    this.#free = pieces
  }

  /** Pieces that are not leased and were not imported. */
  get free(): number {
    return this.#free
  }

  /** How often a piece was imported that was leased for it. */
  get imports(): number {
    return this.#imports
  }

  /** Those whose imports are still on the books. */
  importers(): Iterable<string> {
    return this.#numbers.keys()
  }

  /** What is leased under this and has not come. */
  piecesOf(lease: number, { first, last }: Run): number[] {
    const pieces: number[] = []
    for (let index = first; index <= last; index++) if (this.#lease[index] === lease) pieces.push(index)
    return pieces
  }

  /**
   * The first run, at most so long, that may be leased to a member who says that nobody in its view holds these: free pieces, its own,
   * and pieces imported so long ago that they should have been seen. With an infinite `orphanedMs`, free pieces only.
   */
  find(runs: readonly Run[], asker: string, maxPieces: number, now: number, orphanedMs: number): Run | undefined {
    const own = orphanedMs === Number.POSITIVE_INFINITY ? undefined : this.#numbers.get(asker)
    const before = now - this.#startedAt - orphanedMs
    const free = (index: number) => {
      if (this.#lease[index] !== 0) return false
      const importer = this.#importer[index]
      return importer === 0 || importer === own || (this.#importedAt[index] as number) <= before
    }
    for (const { first, last } of runs) {
      for (let index = first; index <= last; index++) {
        if (!free(index)) continue
        const end = Math.min(last, index + maxPieces - 1)
        let until = index
        while (until < end && free(until + 1)) until++
        return { first: index, last: until }
      }
    }
    return undefined
  }

  /** Leases those of the pieces that are not leased. @returns how many those are */
  take(lease: number, { first, last }: Run, which: 'all' | 'free'): number {
    let taken = 0
    for (let index = first; index <= last; index++) {
      if (this.#lease[index] !== 0 || (which === 'free' && this.#importer[index] !== 0)) continue
      if (this.#importer[index] === 0) this.#free--
      this.#lease[index] = lease
      taken++
    }
    return taken
  }

  /** Gives back what is still leased under this. @returns how many pieces that freed */
  release(lease: number, { first, last }: Run): number {
    let freed = 0
    for (let index = first; index <= last; index++) {
      if (this.#lease[index] !== lease) continue
      this.#lease[index] = 0
      this.#importer[index] = 0
      freed++
    }
    this.#free += freed
    return freed
  }

  /** @returns whether the piece was leased under this until now */
  imported(lease: number, index: number, importer: string, now: number): boolean {
    const leased = this.#lease[index]
    if (leased !== lease && leased !== 0) return false
    if (leased === 0 && this.#importer[index] === 0) this.#free--
    this.#lease[index] = 0
    this.#importer[index] = this.#numberOf(importer)
    this.#importedAt[index] = now - this.#startedAt
    if (leased !== lease) return false
    this.#imports++
    return true
  }

  /** What a member imported is gone with it. @returns whether there was any */
  forget(importer: string): boolean {
    const number = this.#numbers.get(importer)
    if (number === undefined) return false
    this.#numbers.delete(importer)
    for (let index = 0; index < this.geometry.pieces; index++) {
      if (this.#importer[index] !== number) continue
      this.#importer[index] = 0
      if (this.#lease[index] === 0) this.#free++
    }
    return true
  }

  #numberOf(importer: string): number {
    const known = this.#numbers.get(importer)
    if (known !== undefined) return known
    if (this.#lastNumber === 0xffff) this.#startOver()
    this.#numbers.set(importer, ++this.#lastNumber)
    return this.#lastNumber
  }

  /** So many have come and gone that there are no numbers left: what was imported is told by who holds it. */
  #startOver(): void {
    this.#numbers.clear()
    this.#importer.fill(0)
    this.#lastNumber = 0
    this.#free = this.#lease.reduce((free, lease) => (lease === 0 ? free + 1 : free), 0)
  }
}
