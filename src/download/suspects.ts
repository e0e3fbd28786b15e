import type { Claim } from '../../protocols/claim/codec.ts'
import { contradictoryPair } from '../../protocols/claim/contradiction.ts'
import { type ClaimBook, same } from './claim-book.ts'
import type { Incoming } from './incoming.ts'

/**
 * Every piece passed its check and yet the whole digest is wrong: somebody's word was a lie (design 4). Where authors
 * contradict what was accepted, those pieces are fetched again by the other word; where nobody does, what came from peers is
 * fetched again from the origin, and the peers are believed no more.
 * @returns the pieces to drop and fetch again, or `undefined` when there is no other path left
 */
export async function reviseAfterMismatch(incoming: Incoming, originAble: boolean): Promise<readonly number[] | undefined> {
  const { book, geometry, writer } = incoming
  if (!incoming.trustsPeers) return undefined
  const accepted = await writer.hashes(0, geometry.pieces)
  const doubted = contradicted(book, accepted)
  if (doubted.length > 0) return doubted
  if (!originAble) return undefined
  incoming.trustsPeers = false
  const notOurs = Array.from({ length: geometry.pieces }, (_, index) => index).filter((index) => !incoming.imported.has(index))
  return notOurs.length > 0 ? notOurs : undefined
}

/** Pieces about which an author who is not yet suspect says something else than what was accepted; those who vouched for it become suspects. */
function contradicted(book: ClaimBook, accepted: readonly (Uint8Array | undefined)[]): number[] {
  const doubted: number[] = []
  const vouchers = new Set<string>()
  accepted.forEach((hash, index) => {
    const words = book.words(index).filter((word) => !book.isSuspect(word.author))
    const others = words.filter((word) => hash !== undefined && !same(word.hash, hash))
    if (others.length === 0) return
    doubted.push(index)
    for (const word of words) if (hash !== undefined && same(word.hash, hash)) vouchers.add(word.author)
  })
  for (const author of vouchers) book.suspect(author)
  return doubted
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
