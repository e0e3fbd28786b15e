/** One blob's way in: however many readers ask, one download runs, and each byte is verified before anybody sees it (design 4, 6). */
import type { Digest } from '../../protocols/digest.ts'
import type { OriginSource } from '../origin/origin.ts'
import type { BlobMeta } from '../store/store.ts'

/** Bytes of a blob, verified, that stay valid until released. */
export interface VerifiedChunk {
  readonly bytes: Uint8Array
  release(): void
}

/** A blob being read: held, or on its way in. Close it to let a download go that nobody else wants. */
export interface OpenBlob extends AsyncDisposable {
  readonly digest: Digest
  /** Bytes. */
  readonly size: number
  readonly meta: BlobMeta
  /**
   * Verified bytes `start … end` (exclusive; default: all) in order, each chunk at most a piece, as soon as they are there.
   * The blob's last piece is held back until the whole digest was verified: no reader ever completes a wrong blob.
   * May be called many times, also at once.
   * @throws ShoalError DIGEST_MISMATCH, BLOB_UNKNOWN (nobody has it any more), ORIGIN_*, STORE_*, or the signal's reason
   */
  read(options: { start?: number; end?: number; signal: AbortSignal }): AsyncIterable<VerifiedChunk>
  /** Resolves when the whole is verified and committed. @throws as read */
  whole(options: { signal: AbortSignal }): Promise<void>
}

export interface DownloadProgress {
  readonly digest: Digest
  readonly size: number | undefined
  readonly heldBytes: number
  readonly fromPeersBytes: number
  readonly fromOriginBytes: number
  readonly readers: number
  readonly neighbours: number
}

export interface OpenOptions {
  /** Where to import from what no peer has, in order of preference; without one, only peers are asked. */
  readonly origin?: OriginSource | readonly OriginSource[] | undefined
  readonly meta?: BlobMeta
  /** Ends the opening; a blob that is open is let go by closing it. */
  readonly signal: AbortSignal
}

export interface Downloads extends AsyncDisposable {
  /**
   * Resolves when the size is known: at once for what is held.
   * @throws ShoalError BLOB_UNKNOWN (no peer, no origin), ORIGIN_*, DIGEST_MISMATCH, BLOB_TOO_LARGE, NODE_CLOSED
   */
  open(digest: Digest, options: OpenOptions): Promise<OpenBlob>
  progress(): readonly DownloadProgress[]
}
