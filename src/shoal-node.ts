import type { Digest } from '../protocols/digest.ts'
import type { DownloadProgress, OpenBlob, OpenOptions } from './download/download.ts'
import type { PausedOrigin } from './origin/cool-down.ts'
import type { OriginSource } from './origin/origin.ts'
import type { BlobInfo } from './store/store.ts'

/** A blob as `node.fetch` gives it: verified bytes, in order, from the first piece on. */
export interface FetchedBlob {
  readonly digest: Digest
  /** Bytes of the whole blob. */
  readonly size: number
  readonly mediaType: string | undefined
  /** The bytes (of the range, if one was asked for) once; use one of the four ways. */
  readonly body: ReadableStream<Uint8Array>
  [Symbol.asyncIterator](): AsyncIterator<Uint8Array>
  /** All of it in memory. @throws ShoalError BLOB_TOO_LARGE over 1 GiB */
  bytes(): Promise<Uint8Array>
  /** Writes a file that appears whole or not at all (temporary name, then rename). */
  saveTo(path: string): Promise<void>
}

export interface PeerInfo {
  readonly peerId: string
  readonly address: string | undefined
  readonly connected: boolean
  readonly zone: string | undefined
  readonly rttMs: number | undefined
  readonly receivedBytes: number
  readonly sentBytes: number
  /** Set when this peer is banned. */
  readonly ban: { readonly reason: string; readonly until: string } | undefined
}

/** A peer that this node does not deal with. */
export interface BanInfo {
  readonly peerId: string
  readonly reason: string
  readonly by: 'node' | 'operator'
  /** ISO 8601. */
  readonly since: string
  readonly until: string
  /** What it signed and what is proven wrong; empty for a ban by hand. */
  readonly evidence: readonly BanEvidence[]
}

export interface BanEvidence {
  readonly kind: 'complete' | 'import'
  readonly digest: Digest
  /** Bytes of the blob, as the peer says. */
  readonly size: number
  /** The pieces that it is about: `pieces` from `first` on. */
  readonly first: number
  readonly pieces: number
  /** The statement as it was signed, in base64: see the claim protocol's SPEC.md. */
  readonly statement: string
}

export interface NodeStatus {
  readonly version: string
  readonly peerId: string
  readonly addresses: readonly string[]
  readonly zone: string
  readonly startedAt: string
  readonly connectedPeers: number
  readonly store: { readonly blobs: number; readonly bytes: number; readonly path: string | undefined }
  readonly downloads: readonly DownloadProgress[]
  /** What the operator allows, over all peers and origins; `undefined`: as fast as it goes. */
  readonly limits: { readonly uploadBytesPerSecond: number | undefined; readonly downloadBytesPerSecond: number | undefined }
  /** Origins that are not asked at the moment, because they, or members of the zone, said not to. */
  readonly pausedOrigins: readonly PausedOrigin[]
  /** HOST:PORT that was bound; `undefined` for a node without that listener. */
  readonly mirror: string | undefined
  readonly control: string | undefined
}

export interface FetchOptions {
  readonly signal?: AbortSignal
  /** Bytes `start` to `end` (exclusive). */
  readonly range?: { readonly start: number; readonly end?: number }
  /** An HTTP(S) URL of the content, or a registry reference `registry/repository` whose blob or manifest it is. */
  readonly origin?: string | URL | OriginSource
}

/** A running node. `await using node = await openNode({ … })`. */
export interface ShoalNode extends AsyncDisposable {
  readonly peerId: string
  readonly addresses: readonly string[]
  /**
   * Resolves when the blob's size is known and streams verified bytes.
   * @param digest `sha256:<hex>` or `sha512:<hex>`, or a Digest
   * @throws ShoalError DIGEST_INVALID, RANGE_INVALID, REFERENCE_INVALID, BLOB_UNKNOWN, ORIGIN_*, NODE_CLOSED
   */
  fetch(digest: string | Digest, options?: FetchOptions): Promise<FetchedBlob>
  /** The layer under `fetch`, without copies: everything that reads content comes through here. */
  open(digest: Digest, options: OpenOptions): Promise<OpenBlob>
  /** Stores a file or stream, announces it, and gives its digest. @throws ShoalError STORE_FULL, BLOB_TOO_LARGE */
  add(
    content: string | URL | AsyncIterable<Uint8Array> | Uint8Array,
    options?: { signal?: AbortSignal; mediaType?: string },
  ): Promise<BlobInfo>
  /** What is held of it here; asks nobody. */
  stat(digest: Digest): Promise<BlobInfo | undefined>
  list(): AsyncIterable<BlobInfo>
  /** @returns whether there was one */
  remove(digest: Digest): Promise<boolean>
  peers(): readonly PeerInfo[]
  bans(): readonly BanInfo[]
  /**
   * Closes every connection to a peer and deals with it no more, also after a restart. Resolves when that would outlive a crash.
   * @param options.forMs default a day, at most ten years
   * @throws ShoalError PEER_ID_INVALID, REQUEST_INVALID
   */
  ban(peerId: string, options?: { reason?: string; forMs?: number }): Promise<BanInfo>
  /** Lifts a ban: the peer may come back at once. @returns whether there was one. @throws ShoalError PEER_ID_INVALID */
  unban(peerId: string): Promise<boolean>
  status(): Promise<NodeStatus>
  close(): Promise<void>
}
