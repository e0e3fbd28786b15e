import { Bitfield } from '../../protocols/bitfield.ts'
import type { Holding } from '../../src/transfer/pick.ts'
import type { Holdings } from './holdings.ts'

/** What one host has heard of another's pieces: the first so many that it came to hold. */
export class Heard implements Holding {
  readonly #holdings: Holdings
  count = 0

  constructor(holdings: Holdings) {
    this.#holdings = holdings
  }

  get length(): number {
    return this.#holdings.held.length
  }

  get complete(): boolean {
    return this.count === this.length
  }

  has(index: number): boolean {
    return this.#holdings.placeOf(index) < this.count
  }

  toBitfield(): Bitfield {
    const field = new Bitfield(this.length)
    for (const index of this.#holdings.since(0, this.count)) field.add(index)
    return field
  }
}
