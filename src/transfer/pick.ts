import type { Bitfield } from '../../protocols/bitfield.ts'

/** A neighbour as the picker sees it. */
export interface Source {
  readonly peerId: string
  readonly have: Bitfield
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
}

export interface Pick {
  readonly peerId: string
  readonly index: number
}

/**
 * Which pieces to ask of whom, now. What a reader needs next comes first, in order; the rest rarest first with random
 * ties (a deterministic tie-break puts a whole crowd in lockstep on the same pieces). Each goes to the useful source with
 * the least outstanding. A source with no room is asked only if it has nothing outstanding, so a piece larger than the allowance still moves.
 */
export function pickPieces(want: Want, sources: readonly Source[], random: () => number): Pick[] {
  if (sources.length === 0 || want.missing.length === 0) return []
  const open = sources.map((source) => ({ source, outstanding: source.outstandingBytes, room: source.roomBytes }))
  const picks: Pick[] = []
  let room = want.roomBytes
  for (const index of inOrder(want, sources, random)) {
    if (room <= 0) break
    const best = leastLoaded(open, index, random)
    if (best === undefined) {
      if (open.every((o) => o.room <= 0 && o.outstanding > 0)) break
      continue
    }
    best.outstanding += want.pieceBytes
    best.room -= want.pieceBytes
    room -= want.pieceBytes
    picks.push({ peerId: best.source.peerId, index })
  }
  return picks
}

/** Beyond this many candidates rarity is judged among a random sample: picking stays cheap for blobs of many thousand pieces. */
const SAMPLE = 1024

function* inOrder(want: Want, sources: readonly Source[], random: () => number): Iterable<number> {
  yield* want.urgent
  const urgent = new Set(want.urgent)
  const partial = sources.filter((s) => !s.have.complete || s.without !== undefined)
  const rest = want.missing.filter((index) => !urgent.has(index))
  if (partial.length === 0) {
    yield* rest
    return
  }
  const sample = rest.length <= SAMPLE ? rest : sampleOf(rest, SAMPLE, random)
  const keyed = sample.map((index) => ({ index, rarity: holders(sources, index), tie: random() }))
  keyed.sort((a, b) => a.rarity - b.rarity || a.tie - b.tie)
  for (const { index } of keyed) yield index
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

function leastLoaded<T extends { source: Source; outstanding: number; room: number }>(
  open: readonly T[],
  index: number,
  random: () => number,
): T | undefined {
  let best: T | undefined
  let ties = 1
  for (const one of open) {
    if (!offers(one.source, index) || (one.room <= 0 && one.outstanding > 0)) continue
    const order = best === undefined ? -1 : one.outstanding - best.outstanding || one.source.load - best.source.load
    if (order < 0) {
      best = one
      ties = 1
    } else if (order === 0 && random() * ++ties < 1) {
      best = one
    }
  }
  return best
}
