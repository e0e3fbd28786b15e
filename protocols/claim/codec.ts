import { base58btc } from 'multiformats/bases/base58'
import type { Digest } from '../digest.ts'
import { ShoalError } from '../error.ts'
import { isPeerId } from '../peer-id.ts'
import { geometryOf } from '../pieces.ts'
import { Reader } from '../reader.ts'
import { Writer } from '../writer.ts'
import { HASH_BYTES, MAX_AUTHOR_BYTES, MAX_CLAIM_HASHES, MAX_PAGE_BYTES, MAX_PAGE_CLAIMS, SIGNATURE_BYTES } from './limits.ts'

/**
 * A signed statement about some pieces of a blob. `complete`: its author verified the whole blob against its digest.
 * `import`: its author brought these pieces in from an origin or another zone and says only that.
 * Covers the contiguous pieces `first … first + hashes.length - 1`, at most MAX_CLAIM_HASHES of them.
 * The signature (author's Ed25519 identity key) covers everything else, behind a domain separator.
 */
export interface Claim {
  readonly kind: 'complete' | 'import'
  readonly digest: Digest
  readonly size: number
  readonly first: number
  /** SHA-256 of each piece, 32 bytes each. */
  readonly hashes: readonly Uint8Array[]
  /** The author's peer id, in its base58 text form. */
  readonly author: string
  readonly signature: Uint8Array
}

export type UnsignedClaim = Omit<Claim, 'signature'>

/** Keeps a signature under a claim from meaning anything where the same key signs something else. */
const DOMAIN = Buffer.from('shoal claim 1\0', 'latin1')
const VERSION = 1
/** Kinds as they are numbered on the wire, from 1. */
const KINDS = Object.freeze(['complete', 'import'] as const)
/** All but author, hashes and signature, with the longest digest. */
const FIXED_BYTES = 1 + 1 + 65 + 8 + 4 + 1 + 2

export function encodeClaim(claim: Claim): Uint8Array {
  const writer = new Writer(FIXED_BYTES + MAX_AUTHOR_BYTES + claim.hashes.length * HASH_BYTES + SIGNATURE_BYTES)
  writeClaim(writer, claim)
  return writer.finish()
}

/** @throws ShoalError MESSAGE_MALFORMED, MESSAGE_TOO_LARGE, or CLAIM_INVALID when its pieces are not pieces of its blob */
export function decodeClaim(bytes: Uint8Array): Claim {
  const reader = new Reader(bytes, 'claim')
  const claim = readClaim(reader)
  reader.end()
  return claim
}

/** What the author signs: the domain separator, then the encoded claim up to its signature. */
export function claimSigningBytes(claim: UnsignedClaim): Uint8Array {
  const writer = new Writer(DOMAIN.length + FIXED_BYTES + MAX_AUTHOR_BYTES + claim.hashes.length * HASH_BYTES)
  writeStatement(writer.bytes(DOMAIN), claim)
  return writer.finish()
}

/** Divides claims so that each part fits into one control message, in the same order. */
export function pageClaims(claims: readonly Claim[]): Claim[][] {
  const pages: Claim[][] = []
  let bytes = 0
  for (const claim of claims) {
    const claimBytes = encodeClaim(claim).length
    const page = pages.at(-1)
    if (page === undefined || page.length === MAX_PAGE_CLAIMS || bytes + claimBytes > MAX_PAGE_BYTES) {
      pages.push([claim])
      bytes = claimBytes
    } else {
      page.push(claim)
      bytes += claimBytes
    }
  }
  return pages
}

/** Writes a claim as part of a message. */
export function writeClaim(writer: Writer, claim: Claim): void {
  writeStatement(writer, claim)
  if (claim.signature.length !== SIGNATURE_BYTES) throw new TypeError(`a signature of ${claim.signature.length} bytes`)
  writer.bytes(claim.signature)
}

/** Reads a claim that is part of a message. What is returned keeps nothing of the message alive. @throws as decodeClaim */
export function readClaim(reader: Reader): Claim {
  const version = reader.u8()
  if (version !== VERSION) throw reader.malformed(`a claim of version ${version}`)
  const kind = reader.oneOf(KINDS)
  const digest = reader.digest()
  const size = reader.size()
  const first = reader.u32()
  const author = readAuthor(reader)
  const count = reader.count(MAX_CLAIM_HASHES)
  const misfit = misfitOf(size, first, count)
  if (misfit !== undefined) throw new ShoalError('CLAIM_INVALID', misfit)
  const copy = new Uint8Array(reader.bytes(count * HASH_BYTES + SIGNATURE_BYTES))
  const hashes = Array.from({ length: count }, (_, i) => copy.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES))
  return { kind, digest, size, first, hashes, author, signature: copy.subarray(count * HASH_BYTES) }
}

function writeStatement(writer: Writer, { kind, digest, size, first, author, hashes }: UnsignedClaim): void {
  const misfit = misfitOf(size, first, hashes.length)
  if (misfit !== undefined) throw new TypeError(misfit)
  writer.u8(VERSION).oneOf(KINDS, kind).digest(digest).size(size).u32(first)
  const authorBytes = bytesOfAuthor(author)
  writer.u8(authorBytes.length).bytes(authorBytes)
  writer.list(hashes, MAX_CLAIM_HASHES, (hash) => {
    if (hash.length !== HASH_BYTES) throw new TypeError(`a piece hash of ${hash.length} bytes`)
    writer.bytes(hash)
  })
}

/** A claim is about at least one piece; only the empty blob has none. */
function misfitOf(size: number, first: number, count: number): string | undefined {
  const { pieces } = geometryOf(size)
  const fits = pieces === 0 ? first === 0 && count === 0 : count > 0 && first + count <= pieces
  return fits ? undefined : `a claim about pieces ${first} to ${first + count} of a blob that has ${pieces}`
}

function bytesOfAuthor(author: string): Uint8Array {
  let bytes: Uint8Array
  try {
    bytes = base58btc.baseDecode(author)
  } catch (cause) {
    throw new TypeError(`not a peer id: "${author.slice(0, 100)}"`, { cause })
  }
  if (!isPeerId(bytes)) throw new TypeError(`not a peer id: "${author.slice(0, 100)}"`)
  return bytes
}

function readAuthor(reader: Reader): string {
  const length = reader.u8()
  if (length > MAX_AUTHOR_BYTES) throw reader.tooLarge(`an author of ${length} bytes`)
  const bytes = reader.bytes(length)
  if (!isPeerId(bytes)) throw reader.malformed('an author that is not a peer id')
  return base58btc.baseEncode(bytes)
}
