/**
 * Where verified bytes live. Nothing is recorded before it was verified, and nothing recorded is lost by a crash:
 * see DESIGN.md. `disk.ts` is the real store, `memory.ts` the in-memory one; one conformance suite runs on both.
 */
import type { Bitfield } from '../../protocols/bitfield.ts'
import type { Digest } from '../../protocols/digest.ts'
import type { Geometry } from '../../protocols/pieces.ts'

/** What is known about a blob besides its bytes. Kept with it; a change is recorded at once. */
export interface BlobMeta {
  /** The Content-Type it came with (manifests), or `undefined`. */
  readonly mediaType?: string | undefined
  /** Set when it was fetched with a client's own credentials: the `registry/repository` names whose upstream must be asked. */
  readonly restrictedTo?: readonly string[] | undefined
}

export interface BlobInfo {
  readonly digest: Digest
  readonly size: number
  readonly complete: boolean
  readonly heldBytes: number
  readonly meta: BlobMeta
  /** Milliseconds since the epoch. */
  readonly storedAt: number
}

/**
 * A buffer from the store's bounded pool. `release` gives it back; use after release is a bug. Its memory may be shared with a thread
 * (SharedArrayBuffer): sockets, files and hashes take it, TextDecoder and web APIs want a copy.
 */
export interface PieceBuffer {
  readonly bytes: Uint8Array
  release(): void
}

/** A blob that is held at least in part. Cheap to keep: opens its file on first read. Close it when done. */
export interface StoredBlob extends AsyncDisposable {
  readonly digest: Digest
  readonly geometry: Geometry
  readonly meta: BlobMeta
  /** Milliseconds since the epoch. */
  readonly storedAt: number
  /** Live: grows with a writer's puts, shrinks when a piece is found corrupt. */
  readonly have: Bitfield
  /** Whether the whole was verified once: pieces that are missing then were lost since, and must come back as they were. */
  readonly verified: boolean
  /** Whether the whole was verified and nothing was found corrupt since. */
  readonly complete: boolean
  /**
   * A whole piece, verified against its recorded hash on the way out.
   * @throws ShoalError STORE_CORRUPT (the piece is dropped first, so a writer can bring it in anew), BLOB_UNKNOWN (not held)
   */
  readVerified(index: number, options: { signal: AbortSignal }): Promise<PieceBuffer>
  /**
   * A part of a piece for a peer, who verifies what it receives by itself; after an unclean stop it is verified here the first time.
   * @throws as readVerified
   */
  readRaw(index: number, begin: number, length: number, options: { signal: AbortSignal }): Promise<PieceBuffer>
  /** SHA-256 of each held piece in the range; `undefined` where not held. */
  hashes(first: number, count: number): Promise<readonly (Uint8Array | undefined)[]>
  /** Re-reads a piece that a peer called wrong. @returns whether it is still right; if not, it was dropped */
  recheck(index: number): Promise<boolean>
}

/** The one writer of a blob. Leaving it un-committed keeps what was put: the next writer resumes. */
export interface BlobWriter extends StoredBlob {
  /** A receive buffer for a piece of this length, from the pool; waits when the pool is spent. */
  buffer(length: number, options: { signal: AbortSignal }): Promise<PieceBuffer>
  /**
   * Verifies, writes, records, then shows the piece in `have`. Idempotent for a held piece. Does not release the buffer.
   * `expected` is its SHA-256; without one (an import, or a single piece whose check is the digest) the hash is computed and kept.
   * A blob of one piece is checked against the digest itself.
   * @returns its SHA-256
   * @throws ShoalError PIECE_MISMATCH (nothing written), STORE_FULL, STORE_FAILED
   */
  put(index: number, bytes: Uint8Array, expected: Uint8Array | undefined): Promise<Uint8Array>
  /** Forgets pieces that turned out wrong. */
  drop(indices: Iterable<number>): Promise<void>
  /**
   * With every piece held: waits for the whole digest (hashed in order as pieces land, off the event loop) and makes the blob complete.
   * When that cannot be recorded (a full disk), it resolves all the same: the blob is whole and served, and recording is tried again.
   * @throws ShoalError DIGEST_MISMATCH: nothing is committed and the pieces stay; STORE_CORRUPT: pieces are missing, or were found to have
   * changed on our own disk and dropped: bring in what `have` lacks and commit again
   */
  commit(meta: BlobMeta): Promise<void>
}

export interface Store extends AsyncDisposable {
  /** The blob, if any piece of it is held. Every caller gets its own handle. */
  open(digest: Digest): Promise<StoredBlob | undefined>
  /**
   * Opens the writer; resumes what is held. One at a time per blob. What is held under another size is dropped unless it was verified.
   * @throws ShoalError STORE_FAILED (a second writer, or a size that is known to be wrong), STORE_FULL, BLOB_TOO_LARGE
   */
  write(digest: Digest, size: number): Promise<BlobWriter>
  /**
   * Brings in content whose size (and, without `expected`, digest) is not known before its end.
   * @throws ShoalError DIGEST_MISMATCH, STORE_FULL, BLOB_TOO_LARGE; then nothing is kept
   */
  ingest(
    source: AsyncIterable<Uint8Array>,
    options: { expected?: Digest; meta?: BlobMeta; signal: AbortSignal },
  ): Promise<BlobInfo>
  /** @throws ShoalError BLOB_UNKNOWN */
  setMeta(digest: Digest, meta: BlobMeta): Promise<void>
  /** @returns whether there was one. Open handles go on until closed. */
  delete(digest: Digest): Promise<boolean>
  list(): AsyncIterable<BlobInfo>
  usage(): Promise<{ readonly blobs: number; readonly bytes: number }>
  readonly tags: TagRecords
}

export interface TagRecord {
  readonly digest: Digest
  readonly mediaType: string
  readonly size: number
  /** When the registry itself last said so, milliseconds since the epoch. */
  readonly checkedAt: number
  /** As BlobMeta.restrictedTo. */
  readonly restricted: boolean
}

/** What tags meant when last asked; keys are `registry/repository:tag`. Bounded in number, oldest go first. */
export interface TagRecords {
  get(name: string): Promise<TagRecord | undefined>
  set(name: string, record: TagRecord): Promise<void>
  delete(name: string): Promise<void>
}
