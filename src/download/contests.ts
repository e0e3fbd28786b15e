import { hash } from 'node:crypto'
import type { Claim } from '../../protocols/claim/codec.ts'
import { same, type Word } from './claim-book.ts'

/** So many importers must have seen otherwise, each by itself, before a node that has not looked believes them. */
export const ENOUGH = 3
/** One piece in so many may be imported twice to see whether importers speak the truth. */
const PIECES_PER_LOOK = 128

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
  const opponents = new Map<string, Set<string>>()
  for (const words of contested)
    for (const a of words)
      for (const b of words) {
        if (a.author === b.author || same(a.hash, b.hash)) continue
        opponents.set(a.author, (opponents.get(a.author) ?? new Set()).add(b.author))
      }
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

/** The importer's statement that says this of a piece. */
export function signedOf(claims: readonly Claim[], index: number, says: (hash: Uint8Array) => boolean): Claim | undefined {
  return claims.find(({ kind, first, hashes }) => {
    const hash = hashes[index - first]
    return kind === 'import' && hash !== undefined && says(hash)
  })
}

/** How likely a node looks after an importer that falls to it: all looks of a crowd together cost the origin next to nothing. */
export function chanceOfLook(pieces: number, members: number): number {
  return Math.min(1, Math.floor(pieces / PIECES_PER_LOOK) / members)
}

/** Whether a node is among the first so many of those to whom something may fall: all who know the same others agree on who it is. */
export function fallsTo(self: string, subject: string, others: readonly string[], places: number): boolean {
  const own = weightOf(subject, self)
  return others.filter((other) => other !== self && weightOf(subject, other) > own).length < places
}

function weightOf(subject: string, peerId: string): string {
  return hash('sha256', `${subject} ${peerId}`, 'hex')
}
