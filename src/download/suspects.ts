import type { Claim } from '../../protocols/claim/codec.ts'
import { contradictoryPair } from '../../protocols/claim/contradiction.ts'
import { sample } from '../sample.ts'
import { type ClaimBook, same, type Word } from './claim-book.ts'
import type { Doubts } from './doubts.ts'

/** Holders whose list is tried: each try may cost the blob once more, if they are liars. */
const MAX_TRIALS = 4
/** After so many rounds this node sees for itself. */
const MAX_ROUNDS = 10

/** A blob whose pieces all passed their checks, and whose digest is wrong all the same. */
export interface Case {
  readonly book: ClaimBook
  readonly doubts: Doubts
  /** The hashes of the pieces as they are held. */
  readonly accepted: readonly (Uint8Array | undefined)[]
  /** Pieces that this node imported itself. */
  readonly imported: ReadonlySet<number>
  /** Whether pieces can be imported. */
  readonly originAble: boolean
  /** Whether looking after an importer falls to this node first. */
  readonly isMine?: (author: string) => boolean
  readonly random: () => number
}

/** What to bring in anew. An audit: this node imports the pieces itself to see who speaks the truth about them. */
export interface Step {
  readonly pieces: readonly number[]
  readonly audit: boolean
  /** The holder whose list this tries. */
  readonly trial?: string
}

/**
 * The search for the liar (design 4): somebody's word was wrong, or our origin was. First the list of each who says to have held the whole
 * is tried: that the digest decides for good. Then imports: who contradicts our own, or is contradicted by most, is believed no more, and
 * what only such authors vouch for goes. Where all agree, a few pieces of some authors are imported again; each node of a crowd looks at
 * others, and each hears what all have seen. What is vouched for by somebody who is believed stays.
 * @returns `undefined` when there is no other path left
 */
export function nextStep(one: Case): Step | undefined {
  const { book, doubts, accepted, originAble } = one
  book.doubt([])
  for (const author of provenLiars(book, accepted).keys()) book.suspect(author)
  const trial = doubts.rounds < MAX_ROUNDS ? nextTrial(one) : undefined
  if (trial !== undefined) return trial
  suspectByImports(one)
  const unconfirmed = accepted.flatMap((hash, index) => (isConfirmed(one, index, hash) ? [] : index))
  const pieces = originAble ? unconfirmed : unconfirmed.filter((index) => believed(book, index).length > 0)
  if (pieces.length > 0 && doubts.rounds < MAX_ROUNDS) return { pieces, audit: false }
  return originAble ? nextAudit(one) : undefined
}

/** The list of somebody who says to have held the whole: the one that differs least from what is held. */
function nextTrial({ book, doubts, accepted, originAble }: Case): Step | undefined {
  if (doubts.tried.size >= MAX_TRIALS) return undefined
  let best: { author: string; pieces: number[] } | undefined
  for (const author of book.authors()) {
    if (book.isSuspect(author) || doubts.tried.has(author)) continue
    const pieces = accepted.flatMap((hash, index) => (says(book, author, index, hash) === 'otherwise' ? index : []))
    // with an origin there are cheaper ways than to believe a stranger about most of it
    if (originAble && 2 * pieces.length > accepted.length) continue
    if (pieces.length > 0 && (best === undefined || pieces.length < best.pieces.length)) best = { author, pieces }
  }
  if (best === undefined) return undefined
  const { author, pieces } = best
  book.doubt(pieces.flatMap((index) => contradicting(book, author, index)))
  return { pieces, audit: false, trial: author }
}

/** What an author who says to have held the whole says of a piece, beside what is held. */
function says(book: ClaimBook, author: string, index: number, hash: Uint8Array | undefined): 'so' | 'otherwise' | 'nothing' {
  const word = book.words(index).find((w) => w.author === author && w.kind === 'complete')
  if (word === undefined || hash === undefined) return 'nothing'
  return same(word.hash, hash) ? 'so' : 'otherwise'
}

function contradicting(book: ClaimBook, author: string, index: number): string[] {
  const words = book.words(index)
  const right = words.find((word) => word.author === author && word.kind === 'complete')
  return words.filter((word) => right !== undefined && !same(word.hash, right.hash)).map((word) => word.author)
}

/** Our own imports are believed; of the others, who is contradicted by most is doubted, until those that are left agree. */
function suspectByImports({ book, accepted, imported }: Case): void {
  for (const index of imported) {
    const own = accepted[index]
    for (const word of book.words(index)) if (own !== undefined && !same(word.hash, own)) book.suspect(word.author)
  }
  const opponents = new Map<string, Set<string>>()
  /** Contested pieces of which it said what is held: the list that is held is wrong somewhere. */
  const vouched = new Map<string, number>()
  for (const [index, hash] of accepted.entries()) {
    for (const [a, b] of contradictions(believed(book, index))) {
      for (const [one, other] of [[a, b] as const, [b, a] as const]) {
        opponents.set(one.author, (opponents.get(one.author) ?? new Set()).add(other.author))
        if (hash !== undefined && same(one.hash, hash)) vouched.set(one.author, (vouched.get(one.author) ?? 0) + 1)
      }
    }
  }
  const doubted: string[] = []
  for (let worst = worstOf(opponents, vouched); worst !== undefined; worst = worstOf(opponents, vouched)) {
    doubted.push(worst)
    opponents.delete(worst)
    for (const others of opponents.values()) others.delete(worst)
  }
  book.doubt(doubted)
}

function worstOf(opponents: ReadonlyMap<string, ReadonlySet<string>>, vouched: ReadonlyMap<string, number>): string | undefined {
  let worst: string | undefined
  let most = [0, 0]
  for (const [author, { size }] of opponents) {
    const count = [size, vouched.get(author) ?? 0]
    const order = (count[0] as number) - (most[0] as number) || (count[1] as number) - (most[1] as number)
    if (size > 0 && (worst === undefined || order > 0)) [worst, most] = [author, count]
  }
  return worst
}

function contradictions(words: readonly Word[]): [Word, Word][] {
  return words.flatMap((a, i) => words.slice(i + 1).flatMap((b): [Word, Word][] => (same(a.hash, b.hash) ? [] : [[a, b]])))
}

function believed(book: ClaimBook, index: number): Word[] {
  return book.words(index).filter((word) => !book.isSuspect(word.author))
}

/** Whether somebody who is believed says of the piece what is held, or we imported it. */
function isConfirmed({ book, imported }: Case, index: number, hash: Uint8Array | undefined): boolean {
  return imported.has(index) || (hash !== undefined && believed(book, index).some((word) => same(word.hash, hash)))
}

/** A piece of each author who falls to this node; then pieces of as many authors, twice as many each round, and all once that is not much more. */
function nextAudit({ accepted, imported, book, doubts, isMine, random }: Case): Step | undefined {
  const left = accepted.flatMap((_, index) => (imported.has(index) ? [] : index))
  if (left.length === 0) return undefined
  const count = 2 << doubts.audits
  if (2 * count >= left.length || doubts.rounds >= MAX_ROUNDS) return { pieces: left, audit: true }
  const byAuthor = Map.groupBy(left, (index) => believed(book, index)[0]?.author ?? '')
  const mine = [...byAuthor].flatMap(([author, of]) => (isMine?.(author) === true ? sample(of, 1, random) : []))
  if (doubts.audits === 0 && mine.length > 0) return { pieces: mine, audit: true }
  const lots = sample([...byAuthor.values()], count, random).map((pieces) => sample(pieces, pieces.length, random))
  const pieces: number[] = []
  for (let turn = 0; pieces.length < count; turn++) {
    const lot = lots[turn % lots.length] as number[]
    const index = lot.pop()
    if (index !== undefined) pieces.push(index)
  }
  return { pieces, audit: true }
}

/** Authors who signed, for the whole blob, exactly the list that the digest has just proven wrong, and those who signed two that can't both be right. */
export function provenLiars(
  book: ClaimBook,
  accepted: readonly (Uint8Array | undefined)[],
): ReadonlyMap<string, readonly Claim[]> {
  const liars = new Map<string, readonly Claim[]>()
  for (const author of book.authors()) {
    const claims = book.about(0, accepted.length, author).filter((claim) => claim.kind === 'complete')
    const vouchesForAll = accepted.every((hash, index) =>
      claims.some((claim) => {
        const said = claim.hashes[index - claim.first]
        return said !== undefined && hash !== undefined && same(said, hash)
      }),
    )
    const both = contradictoryPair(claims)
    if (both !== undefined) liars.set(author, both)
    else if (claims.length > 0 && vouchesForAll) liars.set(author, claims)
  }
  return liars
}
