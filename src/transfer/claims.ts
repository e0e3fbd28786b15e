import { hash } from 'node:crypto'
import { type Claim, claimSigningBytes } from '../../protocols/claim/codec.ts'
import { MAX_CLAIM_HASHES } from '../../protocols/claim/limits.ts'
import type { Host } from '../net/host.ts'

/** Signs a statement as this node. */
export async function signClaim(
  host: Pick<Host, 'peerId' | 'sign'>,
  unsigned: Omit<Claim, 'author' | 'signature'>,
): Promise<Claim> {
  const claim = { ...unsigned, author: host.peerId }
  return { ...claim, signature: await host.sign(claimSigningBytes(claim)) }
}

/** Whether the statement was signed by the author it names. */
export async function verifyClaim(host: Pick<Host, 'verify'>, claim: Claim): Promise<boolean> {
  const bytes = signedBytes(claim)
  return bytes !== undefined && (await host.verify(claim.author, bytes, claim.signature))
}

/** Claims that an answer about so many pieces may have: several authors may have a statement about each, and a crowd about all. */
export function maxClaims(pieces: number): number {
  return 4 * pieces + 256
}

/** Hashes that they may have together: what is said of other pieces too is bounded by pages, not by claims. */
export function maxHashes(pieces: number): number {
  return 4 * pieces + 4 * MAX_CLAIM_HASHES
}

/** As many of the claims, from the first on, as such an answer may have. */
export function fitting(claims: readonly Claim[], pieces: number): Claim[] {
  let left = maxHashes(pieces)
  return claims.slice(0, maxClaims(pieces)).filter((claim) => {
    left -= claim.hashes.length
    return left >= 0
  })
}

/** Outcomes remembered: the same statement comes from many neighbours. */
const REMEMBERED = 4_096

/** `verifyClaim` that checks each statement once. What is remembered covers every byte of it, the signature included. */
export function createClaimVerifier(host: Pick<Host, 'verify'>): (claim: Claim) => Promise<boolean> {
  const outcomes = new Map<string, Promise<boolean>>()
  return (claim) => {
    const bytes = signedBytes(claim)
    if (bytes === undefined) return Promise.resolve(false)
    const key = `${hash('sha256', bytes, 'base64')} ${claim.author} ${Buffer.from(claim.signature).toString('base64')}`
    const known = outcomes.get(key)
    if (known !== undefined) {
      outcomes.delete(key)
      outcomes.set(key, known)
      return known
    }
    const outcome = host.verify(claim.author, bytes, claim.signature)
    outcome.catch(() => outcomes.delete(key))
    outcomes.set(key, outcome)
    if (outcomes.size > REMEMBERED) outcomes.delete(outcomes.keys().next().value as string)
    return outcome
  }
}

/** `undefined` for what is no statement at all: pieces that a blob of its size does not have. */
function signedBytes(claim: Claim): Uint8Array | undefined {
  try {
    return claimSigningBytes(claim)
  } catch {
    return undefined
  }
}
