import { hash } from 'node:crypto'
import type { Claim } from '../../protocols/claim/codec.ts'
import { same, type Word } from './claim-book.ts'

/** So many importers must have seen otherwise, each by itself, before a node that has not looked believes them. */
export const ENOUGH = 3
/** One piece in so many may be imported twice to see whether importers speak the truth … */
const PIECES_PER_LOOK = 128
/** … and one in so many where nobody knows them. */
const PIECES_PER_STRANGER = 32

/** What importers say of one piece. Where a holder of the whole speaks, that is left to the digest. */
export function importWords(words: readonly Word[]): readonly Word[] {
  return words.some((word) => word.kind === 'complete') ? [] : words
}

export function disagree(words: readonly Word[]): boolean {
  return words.some((word) => !same(word.hash, (words[0] as Word).hash))
}

/**
 * Importers who are contradicted by enough others, and by more than any of those is: they are wrong, or many are in league. One after the
 * other, so that whom a liar contradicts is cleared with it.
 * @param contested what importers say of each piece that they disagree about
 */
export function outvoted(contested: Iterable<readonly Word[]>): Set<string> {
  const opponents = opponentsIn(contested)
  const found = new Set<string>()
  const worst = () =>
    [...opponents].find(
      ([, of]) => of.size >= ENOUGH && [...of].every((other) => (opponents.get(other)?.size ?? 0) < of.size),
    )?.[0]
  for (let author = worst(); author !== undefined; author = worst()) {
    found.add(author)
    opponents.delete(author)
    for (const of of opponents.values()) of.delete(author)
  }
  return found
}

/**
 * How many should see a contested piece for themselves: as many as it takes to outvote whoever is contradicted by most, and only one of the
 * pieces about which it is.
 * @param open what importers say of each contested piece
 */
export function arbitersFor(index: number, open: ReadonlyMap<number, readonly Word[]>): number {
  const opponents = opponentsIn(open.values())
  let most = 0
  let worst = ''
  for (const { author } of open.get(index) ?? []) {
    const count = opponents.get(author)?.size ?? 0
    if (count > most) [worst, most] = [author, count]
  }
  const isAbout = (words: readonly Word[]) => disagree(words) && words.some(({ author }) => author === worst)
  const [first] = [...open].flatMap(([other, words]) => (isAbout(words) ? other : [])).sort((a, b) => a - b)
  return first === index ? Math.max(1, ENOUGH - most) : 0
}

function opponentsIn(contested: Iterable<readonly Word[]>): Map<string, Set<string>> {
  const opponents = new Map<string, Set<string>>()
  for (const words of contested)
    for (const a of words)
      for (const b of words) {
        if (a.author === b.author || same(a.hash, b.hash)) continue
        opponents.set(a.author, (opponents.get(a.author) ?? new Set()).add(b.author))
      }
  return opponents
}

/** The importer's statement that says this of a piece. */
export function signedOf(claims: readonly Claim[], index: number, says: (hash: Uint8Array) => boolean): Claim | undefined {
  return claims.find(({ kind, first, hashes }) => {
    const hash = hashes[index - first]
    return kind === 'import' && hash !== undefined && says(hash)
  })
}

/**
 * How likely a node looks after an importer that falls to it: all looks of a crowd together cost the origin next to nothing. A stranger is
 * one of whom no digest has proven yet that it signs what is so: that is over with the first blob.
 */
export function chanceOfLook(pieces: number, members: number, stranger: boolean): number {
  return Math.min(1, Math.floor(pieces / (stranger ? PIECES_PER_STRANGER : PIECES_PER_LOOK)) / members)
}

/** Whether a node is among the first so many of those to whom something may fall: all who know the same others agree on who it is. */
export function fallsTo(self: string, subject: string, others: readonly string[], places: number): boolean {
  const own = weightOf(subject, self)
  return others.filter((other) => other !== self && weightOf(subject, other) > own).length < places
}

function weightOf(subject: string, peerId: string): string {
  return hash('sha256', `${subject} ${peerId}`, 'hex')
}
