import { loadOf } from './load.ts'
import { isTurn, type Rival } from './turns.ts'

/** The pieces that somebody holds. */
export interface Holding {
  readonly complete: boolean
  has(index: number): boolean
}

/** A neighbour as the picker sees it. */
export interface Source {
  readonly peerId: string
  readonly have: Holding
  /** Pieces not to be asked of it, whatever it says. */
  readonly without?: ReadonlySet<number> | undefined
  /** Bytes that may still be asked of it now. */
  readonly roomBytes: number
  /** Bytes already asked of it and not yet there, for choosing the least loaded. */
  readonly outstandingBytes: number
  /** 0 idle … 255, as it said. */
  readonly load: number
}

export interface Want {
  /** Pieces in demand that are neither held nor on their way. */
  readonly missing: readonly number[]
  /** The subset that a reader needs next, in the order it needs them. */
  readonly urgent: readonly number[]
  readonly pieceBytes: number
  /** Bytes that may still be asked for in total now: a few pieces, so that each arrives soon and can be passed on soon. */
  readonly roomBytes: number
  /** Pieces are asked for in turn with these; `undefined`: at once. */
  readonly turns?: { readonly self: number; readonly rivals: readonly Rival[] } | undefined
}

export interface Pick {
  readonly peerId: string
  readonly index: number
}

interface Open {
  readonly source: Source
  outstanding: number
  room: number
}

/** Beyond this many candidates rarity is judged among a random sample: picking stays cheap for blobs of many thousand pieces. */
const SAMPLE = 1024

/**
 * Which pieces to ask of whom, now. What a reader needs next comes first, in order, each of the least loaded neighbour that
 * has it. Then the least loaded neighbour of all is asked for the rarest piece it can give, and so on: links are kept busy where
 * there is capacity, and what few hold spreads first. Ties are broken at random: a deterministic tie-break puts a whole crowd
 * in lockstep on the same pieces. A source with no room is asked only if it has nothing outstanding, so a piece larger than the
 * allowance still moves; and so is one piece in total, whatever the room.
 */
export function pickPieces(want: Want, sources: readonly Source[], random: () => number): Pick[] {
  const urgent = want.urgent.filter((index) => mayAsk(want, holders(sources, index), index))
  const rest = new Candidates(want, sources, random)
  if (urgent.length === 0 && rest.none) return []
  const open: Open[] = sources.map((source) => ({
    source,
    outstanding: source.outstandingBytes,
    room: source.roomBytes,
  }))
  const picks: Pick[] = []
  let room = want.roomBytes
  const take = (from: Open, index: number) => {
    from.outstanding += want.pieceBytes
    from.room -= want.pieceBytes
    room -= want.pieceBytes
    picks.push({ peerId: from.source.peerId, index })
  }
  for (const index of urgent) {
    if (room <= 0) return picks
    const best = leastLoaded(open, (o) => offers(o.source, index), random)
    if (best !== undefined) take(best, index)
  }
  let useful = rest.none ? [] : open.filter(({ source }) => rest.anyOf(source))
  while (room > 0) {
    const best = leastLoaded(useful, () => true, random)
    if (best === undefined) return picks
    const index = rest.takeRarest(best.source)
    if (index === undefined) useful = useful.filter((o) => o !== best)
    else take(best, index)
  }
  return picks
}

/** Pieces to choose from, and how many of the sources hold each. */
class Candidates {
  readonly #indices: number[] = []
  readonly #rarity: number[] = []
  /** Those for which it would be our turn if who has next to nothing to do counted twice: they are asked of such a one only. */
  readonly #early = new Set<number>()
  readonly #idleLoad: number
  readonly #random: () => number

  constructor(want: Want, sources: readonly Source[], random: () => number) {
    this.#random = random
    this.#idleLoad = loadOf(want.pieceBytes)
    const urgent = new Set(want.urgent)
    const missing = want.missing.filter((index) => !urgent.has(index))
    const sample = missing.length <= SAMPLE ? missing : sampleOf(missing, SAMPLE, random)
    // where everybody holds everything nothing is rare, and order is as good as chance
    const partial = sources.some((s) => !s.have.complete || s.without !== undefined)
    for (const index of sample) {
      const holding = holders(sources, index)
      if (holding === 0) continue
      if (!mayAsk(want, holding, index)) {
        const idle = sources.reduce((count, source) => count + Number(this.#isIdle(source) && offers(source, index)), 0)
        if (idle === 0 || !mayAsk(want, holding + idle, index)) continue
        this.#early.add(index)
      }
      this.#indices.push(index)
      if (partial) this.#rarity.push(holding)
    }
  }

  get none(): boolean {
    return this.#indices.length === 0
  }

  /** Whether there is something to ask of it. */
  anyOf(source: Source): boolean {
    return this.#indices.some((index) => this.#gives(source, index))
  }

  takeRarest(source: Source): number | undefined {
    let best = -1
    let ties = 1
    for (let i = 0; i < this.#indices.length; i++) {
      if (!this.#gives(source, this.#indices[i] as number)) continue
      const order = best < 0 ? -1 : (this.#rarity[i] ?? i) - (this.#rarity[best] ?? best)
      if (order < 0) {
        best = i
        ties = 1
      } else if (order === 0 && this.#random() * ++ties < 1) best = i
    }
    if (best < 0) return undefined
    this.#rarity.splice(best, 1)
    return this.#indices.splice(best, 1)[0]
  }

  /** It owes no more than a piece, all peers together. */
  #isIdle({ load }: Source): boolean {
    return load <= this.#idleLoad
  }

  #gives(source: Source, index: number): boolean {
    return offers(source, index) && (this.#isIdle(source) || !this.#early.has(index))
  }
}

function mayAsk({ turns }: Want, holding: number, index: number): boolean {
  return holding > 0 && (turns === undefined || isTurn(index, turns.self, turns.rivals, holding))
}

function holders(sources: readonly Source[], index: number): number {
  let count = 0
  for (const source of sources) if (offers(source, index)) count++
  return count
}

function offers({ have, without }: Source, index: number): boolean {
  return have.has(index) && without?.has(index) !== true
}

function sampleOf(items: readonly number[], count: number, random: () => number): number[] {
  const start = Math.floor(random() * items.length)
  return Array.from({ length: count }, (_, i) => items[(start + i) % items.length] as number)
}

/**
 * Who has the least of ours outstanding. Among equals two are drawn and the one that says it is less busy is taken: what they
 * say is a little old, and were the least of all taken, everybody who heard it would go there at once.
 */
function leastLoaded(open: readonly Open[], suits: (open: Open) => boolean, random: () => number): Open | undefined {
  let least: Open[] = []
  for (const one of open) {
    if ((one.room <= 0 && one.outstanding > 0) || !suits(one)) continue
    const order = least.length === 0 ? -1 : one.outstanding - (least[0] as Open).outstanding
    if (order < 0) least = [one]
    else if (order === 0) least.push(one)
  }
  if (least.length <= 1) return least[0]
  const [a, b] = [draw(least, random), draw(least, random)]
  return a.source.load <= b.source.load ? a : b
}

function draw<T>(items: readonly T[], random: () => number): T {
  return items[Math.floor(random() * items.length)] as T
}
