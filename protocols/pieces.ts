import { ShoalError } from './error.ts'

const KiB = 1024
const MiB = 1024 * KiB
const GiB = 1024 * MiB

/** The one table of piece sizes: the first row whose `upTo` is at least the blob's size (design 4). */
export const PIECE_SIZES = Object.freeze([
  { upTo: 256 * MiB, pieceBytes: 256 * KiB },
  { upTo: 4 * GiB, pieceBytes: 1 * MiB },
  { upTo: 64 * GiB, pieceBytes: 4 * MiB },
  { upTo: 1024 * GiB, pieceBytes: 16 * MiB },
])

/** What a piece can be at most and what a blob can be at most: bounds everything that a peer can make us hold. */
export const MAX_PIECE_BYTES = 16 * MiB
export const MAX_BLOB_BYTES = 1024 * GiB
/** The smallest piece size: a blob up to this is one piece, and its piece needs no piece list. */
export const MIN_PIECE_BYTES = 256 * KiB

/** The most pieces that any blob has. */
export const MAX_PIECES = Math.max(...PIECE_SIZES.map((row) => row.upTo / row.pieceBytes))

/** How a blob of some size divides into pieces. */
export interface Geometry {
  readonly size: number
  readonly pieceBytes: number
  /** 0 for the empty blob. */
  readonly pieces: number
}

/** @throws ShoalError BLOB_TOO_LARGE, REQUEST_INVALID */
export function geometryOf(size: number): Geometry {
  if (!Number.isSafeInteger(size) || size < 0) throw new ShoalError('REQUEST_INVALID', `not a blob size: ${size}`)
  const row = PIECE_SIZES.find((r) => size <= r.upTo)
  if (row === undefined) throw new ShoalError('BLOB_TOO_LARGE', `a blob of ${size} bytes is over the limit of ${MAX_BLOB_BYTES}`)
  return { size, pieceBytes: row.pieceBytes, pieces: Math.ceil(size / row.pieceBytes) }
}

/** Byte offset of a piece in its blob. */
export function pieceOffset(geometry: Geometry, index: number): number {
  return index * geometry.pieceBytes
}

/** Length in bytes of a piece: the last may be short. */
export function pieceLength(geometry: Geometry, index: number): number {
  if (!Number.isInteger(index) || index < 0 || index >= geometry.pieces) {
    throw new RangeError(`piece ${index} of a blob of ${geometry.pieces}`)
  }
  return Math.min(geometry.pieceBytes, geometry.size - index * geometry.pieceBytes)
}

/** The pieces that a byte range touches, `first` to `last` inclusive; `undefined` for an empty range. */
export function piecesOf(geometry: Geometry, start: number, end: number): { first: number; last: number } | undefined {
  if (end <= start) return undefined
  return { first: Math.floor(start / geometry.pieceBytes), last: Math.floor((end - 1) / geometry.pieceBytes) }
}
