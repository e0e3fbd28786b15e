import type { Bitfield } from '../../protocols/bitfield.ts'
import type { NeighbourState } from '../transfer/transfer.ts'

/** Who was of no use for so long gives its place to another … */
const PATIENCE_MS = 10_000
/** … a few at a time. */
const AT_ONCE = 4
/** What comes now and then tells more than one moment. */
const EVERY_MS = 2_000

/** A neighbour, as far as its use is concerned. */
export interface Seated {
  readonly peerId: string
  readonly state: NeighbourState
  /** `undefined` also when it holds something else under the same name. */
  readonly have: Bitfield | undefined
  /** It owes pieces and sends nothing, for longer than its own history explains. */
  readonly silent: boolean
}

/**
 * Which neighbours have been of no use to one download for long: those that failed, that say nothing, that were asked in vain, or that hold
 * nothing at all, or neither anything that this node lacks nor lack anything that it holds. What they say that they hold does not count for them: only what they give does.
 */
export class Usefulness {
  /** Who gave a piece at some time: what such a one holds is more than a word. */
  readonly #givers = new Set<string>()
  /** Who was asked in vain and has given nothing since. */
  readonly #barren = new Set<string>()
  readonly #uselessSince = new Map<string, number>()
  #notBefore = 0

  gave(peerId: string): void {
    this.#givers.add(peerId)
    this.#barren.delete(peerId)
  }

  askedInVain(peerId: string): void {
    this.#barren.add(peerId)
  }

  /** Whether it is time to look again. */
  due(now: number): boolean {
    return now >= this.#notBefore
  }

  /** @returns whom to replace: a few, those of no use for longest first, and nobody who alone holds a piece that this node lacks */
  review(seats: readonly Seated[], own: Bitfield, now: number): string[] {
    this.#notBefore = now + EVERY_MS
    this.#note(seats, own, now)
    const sinceOf = ({ peerId }: Seated) => this.#uselessSince.get(peerId) ?? Infinity
    const old = seats.filter((seat) => now - sinceOf(seat) >= PATIENCE_MS).sort((a, b) => sinceOf(a) - sinceOf(b))
    const leaving = new Set<Seated>()
    for (const seat of old) {
      if (leaving.size >= AT_ONCE) break
      const others = seats.filter((other) => other !== seat && !leaving.has(other))
      if (!this.#isOnlySource(seat, others, own)) leaving.add(seat)
    }
    return [...leaving].map(({ peerId }) => peerId)
  }

  #note(seats: readonly Seated[], own: Bitfield, now: number): void {
    const present = new Set(seats.map(({ peerId }) => peerId))
    for (const ids of [this.#givers, this.#barren, this.#uselessSince])
      for (const id of ids.keys()) if (!present.has(id)) ids.delete(id)
    for (const seat of seats) {
      if (!this.#isUseless(seat, own)) this.#uselessSince.delete(seat.peerId)
      else if (!this.#uselessSince.has(seat.peerId)) this.#uselessSince.set(seat.peerId, now)
    }
  }

  #isUseless({ peerId, state, have, silent }: Seated, own: Bitfield): boolean {
    if (state === 'failed' || state === 'connecting' || state === 'asked' || silent || this.#barren.has(peerId)) return true
    return have === undefined || (have.count === own.count && !holdsMore(have, own))
  }

  /** Somebody's mere word is no match for one who has given pieces. */
  #isOnlySource({ peerId, have }: Seated, others: readonly Seated[], own: Bitfield): boolean {
    if (have === undefined) return false
    const given = this.#givers.has(peerId)
    const covered = own.clone()
    for (const other of others)
      if (other.have !== undefined && (!given || this.#givers.has(other.peerId))) covered.addAll(other.have)
    return holdsMore(have, covered)
  }
}

function holdsMore(have: Bitfield, than: Bitfield): boolean {
  const union = than.clone()
  union.addAll(have)
  return union.count > than.count
}
