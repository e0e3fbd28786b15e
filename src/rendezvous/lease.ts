import { geometryOf } from '../../protocols/pieces.ts'
import type { Ledger } from './ledger.ts'
import { openPieces, patienceMs, SILENCE_MS } from './policy.ts'
import type { Run } from './ranges.ts'

/** The right of one member to import some pieces, for as long as it shows life. */
export interface Lease {
  readonly id: number
  readonly member: string
  /** 0 while the size is not known. */
  size: number
  first: number
  last: number
  /** Pieces granted, and those of them that have not come. */
  granted: number
  remaining: number
  /** The origin has answered. */
  opened: boolean
  streams: boolean
  /** It showed no life: its pieces are free, but what it still brings counts. */
  lapsed: boolean
  heardAt: number
  /** Granted, or brought a piece. */
  progressedAt: number
}

/** A lease that has no pieces yet. */
export function createLease(id: number, member: string, size: number, { first, last }: Run, now: number): Lease {
  const nothingYet = { granted: 0, remaining: 0, opened: false, streams: false, lapsed: false }
  return { id, member, size, first, last, ...nothingYet, heardAt: now, progressedAt: now }
}

/** When it lapses if nothing more is heard. `usualMs`: what others take for a piece, if that is known. */
export function expiryOf({ size, heardAt, progressedAt }: Lease, usualMs: number | undefined): number {
  const pieceBytes = size === 0 ? 0 : geometryOf(size).pieceBytes
  return Math.min(heardAt + SILENCE_MS, progressedAt + patienceMs(pieceBytes, usualMs))
}

/** An open lease becomes one of the first pieces. */
export function settle(lease: Lease, ledger: Ledger): void {
  lease.size = ledger.geometry.size
  lease.last = openPieces(ledger.geometry) - 1
  if (!lease.lapsed) lease.granted = ledger.take(lease.id, lease, 'free')
  lease.remaining = lease.granted
}

/** The origin gives all or nothing: its importer takes what is left. */
export function widen(lease: Lease, ledger: Ledger): void {
  lease.streams = true
  lease.last = ledger.geometry.pieces - 1
  if (lease.lapsed) return
  const more = ledger.take(lease.id, lease, 'free')
  lease.granted += more
  lease.remaining += more
}
