import { geometryOf } from '../../protocols/pieces.ts'
import { leasePieces, mayActAlone, OPEN_LAST } from './policy.ts'
import { firstRun, type Run } from './ranges.ts'

/** What one imports without the leave of anybody, when nobody answers. */
export class LastResort {
  readonly #random: () => number
  /** Nobody answered so many times in a row, and nobody else seemed to import. */
  #tries = 0
  #fewestOrphans = Number.POSITIVE_INFINITY

  constructor(random: () => number) {
    this.#random = random
  }

  /**
   * Others may be in the same position, so where to begin is left to chance; and in a large zone few begin at first, and none that see
   * others import.
   * @param zone its other members
   * @returns `undefined` when it is better to look again later
   */
  choose(orphans: readonly number[], size: number | undefined, zone: number): Run | undefined {
    if (orphans.length < this.#fewestOrphans) this.#tries = 0
    this.#fewestOrphans = orphans.length
    if (!mayActAlone(zone, this.#tries++, this.#random)) return undefined
    if (size === undefined) return { first: 0, last: OPEN_LAST }
    const start = zone === 0 ? 0 : Math.floor(this.#random() * orphans.length)
    return firstRun(orphans.slice(start), leasePieces(geometryOf(size), zone + 1, 0))
  }
}
