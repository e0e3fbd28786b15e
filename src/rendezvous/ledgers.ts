import { Ledger } from './ledger.ts'

/** More sizes than this are not given by honest members. */
const MAX_SIZES = 4

/** How many give which size. */
export type Votes = ReadonlyMap<number, number>

/** One blob's ledgers: whoever says another size than others has one of its own, so that a lie costs only the liar. */
export class Ledgers {
  readonly #bySize = new Map<number, Ledger>()

  /** What they take. */
  get pieces(): number {
    let pieces = 0
    for (const ledger of this.#bySize.values()) pieces += ledger.geometry.pieces
    return pieces
  }

  get(size: number): Ledger | undefined {
    return this.#bySize.get(size)
  }

  /** The ledger of a size; `undefined` when there are too many sizes that as many members give. */
  open(size: number, votes: Votes, now: number): Ledger | undefined {
    const known = this.#bySize.get(size)
    if (known !== undefined) return known
    if (this.#bySize.size >= MAX_SIZES && !this.#makeRoomFor(size, votes)) return undefined
    const ledger = new Ledger(size, now)
    this.#bySize.set(size, ledger)
    return ledger
  }

  *importers(): Generator<string> {
    for (const ledger of this.#bySize.values()) yield* ledger.importers()
  }

  /** What a member imported is gone with it. @returns whether there was any */
  forget(member: string): boolean {
    let any = false
    for (const ledger of this.#bySize.values()) any = ledger.forget(member) || any
    return any
  }

  #makeRoomFor(size: number, votes: Votes): boolean {
    let least = size
    for (const other of this.#bySize.keys()) if ((votes.get(other) ?? 0) < (votes.get(least) ?? 0)) least = other
    return this.#bySize.delete(least)
  }
}

/** What most say; 0 when nobody says anything. */
export function mostVoted(votes: Votes): number {
  let best = 0
  for (const [size, count] of votes) if (count > (votes.get(best) ?? 0)) best = size
  return best
}
