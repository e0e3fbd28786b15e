import { hash } from 'node:crypto'
import { Bitfield } from '../../protocols/bitfield.ts'
import type { Claim } from '../../protocols/claim/codec.ts'
import { type Digest, digestOf } from '../../protocols/digest.ts'
import { type Geometry, geometryOf, pieceLength, pieceOffset } from '../../protocols/pieces.ts'
import { ShoalError } from '../../src/errors.ts'
import type { Holding, Library } from '../../src/transfer/transfer.ts'

interface Blob {
  readonly bytes: Uint8Array
  readonly geometry: Geometry
  readonly have: Bitfield
  readonly mediaType: string | undefined
  complete: boolean
  claims: readonly Claim[]
  /** Awaited before each read. */
  gate: Promise<void> | undefined
  /** Every read fails. */
  broken: boolean
  /** Indices that `recheck` finds wrong. */
  readonly rotten: Set<number>
}

export interface MemoryLibrary extends Library {
  /** Holds the whole, or only the pieces named. */
  put(bytes: Uint8Array, options?: { pieces?: readonly number[]; mediaType?: string; claims?: readonly Claim[] }): Digest
  delete(digest: Digest): void
  addPieces(digest: Digest, indices: readonly number[]): void
  complete(digest: Digest): void
  blob(digest: Digest): Blob
  /** Holdings opened so far, and those open now. */
  readonly opened: number
  readonly open: number
  /** Read buffers out at the moment. */
  readonly buffers: number
  readonly rechecked: readonly number[]
  /** The digest of each part read, in order. */
  readonly reads: readonly string[]
}

/** Blobs in memory as a Library. Buffers are scribbled over when released, as a pool would reuse them. */
export function createMemoryLibrary(): MemoryLibrary {
  const blobs = new Map<string, Blob>()
  const rechecked: number[] = []
  const reads: string[] = []
  const counts = { opened: 0, open: 0, buffers: 0 }
  const blobOf = (digest: Digest): Blob => {
    const blob = blobs.get(digest.toString())
    if (blob === undefined) throw new Error(`no blob ${digest}`)
    return blob
  }
  return {
    put: (bytes, { pieces, mediaType, claims = [] } = {}) => {
      const digest = digestOf(bytes)
      const geometry = geometryOf(bytes.length)
      const have = new Bitfield(geometry.pieces)
      for (const index of pieces ?? Array.from({ length: geometry.pieces }, (_, i) => i)) have.add(index)
      blobs.set(digest.toString(), {
        bytes,
        geometry,
        have,
        mediaType,
        claims,
        complete: pieces === undefined,
        gate: undefined,
        broken: false,
        rotten: new Set(),
      })
      return digest
    },
    delete: (digest) => void blobs.delete(digest.toString()),
    addPieces: (digest, indices) => {
      for (const index of indices) blobOf(digest).have.add(index)
    },
    complete: (digest) => {
      blobOf(digest).complete = true
    },
    blob: blobOf,
    get opened() {
      return counts.opened
    },
    get open() {
      return counts.open
    },
    get buffers() {
      return counts.buffers
    },
    rechecked,
    reads,
    find: async (digest) => {
      const blob = blobs.get(digest.toString())
      if (blob === undefined) return undefined
      counts.opened++
      counts.open++
      return holdingOf(digest, blob, counts, { rechecked, reads })
    },
  }
}

function holdingOf(
  digest: Digest,
  blob: Blob,
  counts: { open: number; buffers: number },
  logs: { rechecked: number[]; reads: string[] },
): Holding {
  return {
    size: blob.bytes.length,
    have: blob.have,
    get complete() {
      return blob.complete
    },
    mediaType: blob.mediaType,
    read: async (index, begin, length, { signal }) => {
      logs.reads.push(String(digest))
      await blob.gate
      signal.throwIfAborted()
      if (blob.broken) throw new ShoalError('STORE_CORRUPT', `piece ${index} is rotten`)
      if (!blob.have.has(index)) throw new ShoalError('BLOB_UNKNOWN', `piece ${index} is not held`)
      if (begin + length > pieceLength(blob.geometry, index)) throw new RangeError('beyond the piece')
      const at = pieceOffset(blob.geometry, index) + begin
      const bytes = Buffer.from(blob.bytes.subarray(at, at + length))
      counts.buffers++
      return {
        bytes,
        release: () => {
          counts.buffers--
          bytes.fill(0xdb)
        },
      }
    },
    claims: async (first, count) => blob.claims.filter((c) => c.first < first + count && c.first + c.hashes.length > first),
    recheck: async (index) => {
      logs.rechecked.push(index)
      return !blob.rotten.has(index) || !blob.have.delete(index)
    },
    close: async () => {
      counts.open--
    },
  }
}

/** SHA-256 of pieces. */
export function hashesOf(bytes: Uint8Array, first: number, count: number): Uint8Array[] {
  const geometry = geometryOf(bytes.length)
  return Array.from({ length: count }, (_, i) => {
    const at = pieceOffset(geometry, first + i)
    return hash('sha256', bytes.subarray(at, at + pieceLength(geometry, first + i)), 'buffer')
  })
}
