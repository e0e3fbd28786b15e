import { type Claim, readClaim, writeClaim } from '../claim/codec.ts'
import { contradictEachOther } from '../claim/contradiction.ts'
import { Reader } from '../reader.ts'
import { Writer } from '../writer.ts'
import { MAX_EVIDENCE_CLAIMS, MAX_EVIDENCE_MESSAGE_BYTES } from './limits.ts'

/**
 * `/shoal/evidence/1`: what a peer has signed, for others to check. One claim of a holder of the verified whole, or two that can't both be
 * so; or a contest: what two importers signed of the same piece, one of whom is wrong. Who shows it proves nothing by that: the reader
 * believes only what it can check.
 */
export interface Evidence {
  readonly claims: readonly [Claim] | readonly [Claim, Claim]
}

export { EVIDENCE_PROTOCOL } from './limits.ts'

export function encodeEvidence({ claims }: Evidence): Uint8Array {
  const misfit = misfitOf(claims)
  if (misfit !== undefined) throw new TypeError(misfit)
  const writer = new Writer()
  writer.list<Claim>(claims, MAX_EVIDENCE_CLAIMS, (claim) => writeClaim(writer, claim))
  return writer.finish()
}

/** @throws ShoalError MESSAGE_MALFORMED, MESSAGE_TOO_LARGE, CLAIM_INVALID */
export function decodeEvidence(bytes: Uint8Array): Evidence {
  const reader = new Reader(bytes, 'evidence')
  if (bytes.length > MAX_EVIDENCE_MESSAGE_BYTES) throw reader.tooLarge(`${bytes.length} bytes`)
  const claims = reader.list(MAX_EVIDENCE_CLAIMS, () => readClaim(reader))
  reader.end()
  const misfit = misfitOf(claims)
  if (misfit !== undefined) throw reader.malformed(misfit)
  return { claims: claims as [Claim] | [Claim, Claim] }
}

/** Whether two importers say otherwise of a blob: one of them is wrong, or its origin was. */
export function isContest(claims: readonly Claim[]): boolean {
  const [a, b] = claims
  return a !== undefined && b !== undefined && a.author !== b.author
}

/** An import is what somebody got: an honest one may be wrong, and may differ from the next. Only the word of a holder can be held against it. */
function misfitOf(claims: readonly Claim[]): string | undefined {
  const [a, b] = claims
  if (a === undefined) return 'evidence of nothing'
  if (b !== undefined && isContest(claims)) return misfitOfContest(a, b)
  if (claims.some((claim) => claim.kind !== 'complete')) return 'a claim of an importer, which proves nothing'
  if (b === undefined) return undefined
  if (!a.digest.equals(b.digest)) return 'claims about two blobs'
  return contradictEachOther(a, b) ? undefined : 'claims that agree'
}

function misfitOfContest(a: Claim, b: Claim): string | undefined {
  if (a.kind !== 'import' || b.kind !== 'import') return 'claims of two authors, one of a holder'
  if (!a.digest.equals(b.digest) || a.size !== b.size) return 'claims about two blobs'
  return contradictEachOther(a, b) ? undefined : 'claims that agree'
}
