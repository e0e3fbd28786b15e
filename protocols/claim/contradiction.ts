import { digestOf } from '../digest.ts'
import { geometryOf } from '../pieces.ts'
import type { Claim } from './codec.ts'

const NOTHING = new Uint8Array(0)

/** What a holder of the verified whole knows of a blob. */
export interface Truth {
  readonly size: number
  /** SHA-256 of a piece; `undefined` where it is not known. */
  hash(index: number): Uint8Array | undefined
}

/** Whether what is said of the blob is not so. */
export function contradicts(claim: Claim, truth: Truth): boolean {
  if (claim.size !== truth.size) return true
  return claim.hashes.some((hash, i) => {
    const right = truth.hash(claim.first + i)
    return right !== undefined && Buffer.compare(hash, right) !== 0
  })
}

/** Whether no blob can be as both say: of another size, or with another piece. Claims about the same digest. */
export function contradictEachOther(a: Claim, b: Claim): boolean {
  return contradicts(a, { size: b.size, hash: (index) => b.hashes[index - b.first] })
}

/** The first two of one author's claims about one blob that can't both be so. */
export function contradictoryPair(claims: readonly Claim[]): readonly [Claim, Claim] | undefined {
  for (const [i, a] of claims.entries()) {
    const b = claims.slice(i + 1).find((other) => other.digest.equals(a.digest) && contradictEachOther(a, other))
    if (b !== undefined) return [a, b]
  }
  return undefined
}

/** Whether the digest alone shows that it is not so: that of nothing is known, and that of one piece is its SHA-256. */
export function contradictsItsDigest({ digest, size, hashes }: Claim): boolean {
  if ((size === 0) !== digest.equals(digestOf(NOTHING, digest.algorithm))) return true
  const [only] = hashes
  return (
    digest.algorithm === 'sha256' &&
    geometryOf(size).pieces === 1 &&
    only !== undefined &&
    Buffer.compare(only, digest.bytes) !== 0
  )
}
