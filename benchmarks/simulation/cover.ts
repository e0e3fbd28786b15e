import type { Bitfield } from '../../protocols/bitfield.ts'

/** By piece, how many neighbours say that they hold it; and how many pieces one lacks that none of them holds. */
export class Cover {
  readonly #held: Bitfield
  readonly #holders: Uint16Array
  #orphans: number

  constructor(held: Bitfield) {
    this.#held = held
    this.#holders = new Uint16Array(held.length)
    this.#orphans = held.length
  }

  /** Pieces that are not held, and by no neighbour either. */
  get orphans(): number {
    return this.#orphans
  }

  has(index: number): boolean {
    return this.#holders[index] !== 0
  }

  add(index: number): void {
    const before = this.#holders[index] as number
    this.#holders[index] = before + 1
    if (before === 0 && !this.#held.has(index)) this.#orphans--
  }

  remove(index: number): void {
    const left = (this.#holders[index] as number) - 1
    this.#holders[index] = left
    if (left === 0 && !this.#held.has(index)) this.#orphans++
  }

  /** To be told before a piece is noted as held. */
  landing(index: number): void {
    if (!this.has(index)) this.#orphans--
  }
}
