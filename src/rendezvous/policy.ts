import type { Geometry } from '../../protocols/pieces.ts'

const MiB = 1024 * 1024

/** What an importer asks the origin for while nobody in the zone knows the blob's size. */
export const OPEN_BYTES = MiB

/** What is left of an open lease once the size is known: the pieces that begin in what was asked for. */
export function openPieces({ pieces, pieceBytes }: Geometry): number {
  return Math.min(pieces, Math.ceil(OPEN_BYTES / pieceBytes))
}

/**
 * Pieces of one lease: short, so that many hosts import at once and little is lost with one of them, but long enough for the
 * origin's answer to be worth its round trip.
 */
export function leasePieces({ size, pieceBytes }: Geometry): number {
  const bytes = Math.min(16 * MiB, Math.max(MiB, size / 256))
  return Math.max(1, Math.floor(bytes / pieceBytes))
}
