import type { Bitfield } from '../../protocols/bitfield.ts'

/** How many each holder of a piece should be asked by at a time: a piece then spreads as a tree, in so many steps as that has levels. */
export const PER_HOLDER = 3

/** A member of the swarm that lacks some pieces, as this one does. */
export interface Rival {
  /** A number of its own: `seedOf` its name. */
  readonly seed: number
  /** `undefined`: nothing is known to be held. */
  readonly have: Pick<Bitfield, 'has'> | undefined
}

/**
 * Whether it is this node's turn to ask for a piece that `holders` of its neighbours hold. A new piece is wanted by everybody at once,
 * and were its only holder asked by all, each would get it late and at the same time; so they come in an order that each piece
 * has of its own and that all compute alike, the first as soon as one holds it, the next as soon as those do.
 */
export function isTurn(index: number, self: number, rivals: readonly Rival[], holders: number): boolean {
  const places = PER_HOLDER * holders
  const own = mixed(self, index)
  let before = 0
  for (const { seed, have } of rivals) {
    if (mixed(seed, index) >= own || have?.has(index) === true) continue
    if (++before >= places) return false
  }
  return true
}

/** A number for a name (FNV-1a). */
export function seedOf(name: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  return hash >>> 0
}

/** The finalizer of MurmurHash3 over both. */
function mixed(seed: number, index: number): number {
  let hash = seed ^ Math.imul(index + 1, 0x9e3779b1)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}
