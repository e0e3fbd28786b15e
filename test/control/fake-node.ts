import { type Digest, digestOf } from '../../protocols/digest.ts'
import type { ControlBackend } from '../../src/control/backend.ts'
import type { OpenBlob, VerifiedChunk } from '../../src/download/download.ts'
import { ShoalError } from '../../src/errors.ts'
import type { OriginSource } from '../../src/origin/origin.ts'
import type { BanInfo } from '../../src/shoal-node.ts'
import type { BlobInfo, BlobMeta } from '../../src/store/store.ts'

const CHUNK = 64 * 1024

export interface FakeNode extends ControlBackend {
  readonly blobs: Map<string, { bytes: Uint8Array; meta: BlobMeta }>
  /** What origins hold, and by `registry/repository:tag` what tags mean. */
  readonly origin: Map<string, { bytes: Uint8Array; meta: BlobMeta }>
  readonly tags: Map<string, Digest>
  readonly banned: Map<string, BanInfo>
  readonly asked: (OriginSource | undefined)[]
  /** Fails a read once this many bytes were given. */
  cutAfter: number | undefined
  /** Gives nothing more of a read once this many bytes were given. */
  stallAfter: number | undefined
  /** What `add` refuses with, after the first chunk. */
  refuseAdd: ShoalError | undefined
  /** Chunks given out and not yet released. */
  outstanding: number
  most: number
  put(bytes: Uint8Array, meta?: BlobMeta): Digest
}

/** A node on in-memory blobs: what the control listener and the command line are tested against without a network. */
export function createFakeNode(): FakeNode {
  const info = (digest: Digest, held: { bytes: Uint8Array; meta: BlobMeta }): BlobInfo => ({
    digest,
    size: held.bytes.length,
    complete: true,
    heldBytes: held.bytes.length,
    meta: held.meta,
    storedAt: 0,
  })
  const node: FakeNode = {
    blobs: new Map(),
    origin: new Map(),
    tags: new Map(),
    banned: new Map(),
    asked: [],
    cutAfter: undefined,
    stallAfter: undefined,
    refuseAdd: undefined,
    outstanding: 0,
    most: 0,
    put(bytes, meta = {}) {
      const digest = digestOf(bytes)
      node.blobs.set(String(digest), { bytes, meta })
      return digest
    },
    async open(digest, { origin, signal }) {
      signal.throwIfAborted()
      node.asked.push(Array.isArray(origin) ? origin[0] : origin)
      const held = node.blobs.get(String(digest)) ?? (origin === undefined ? undefined : node.origin.get(String(digest)))
      if (held === undefined && origin !== undefined)
        throw new ShoalError('ORIGIN_NOT_FOUND', `the origin does not have ${digest}`)
      if (held === undefined) throw new ShoalError('BLOB_UNKNOWN', `nobody has ${digest}`)
      return fakeBlob(node, digest, held)
    },
    async add(content, options = {}) {
      const parts: Uint8Array[] = []
      for await (const part of content as AsyncIterable<Uint8Array>) {
        parts.push(part)
        if (node.refuseAdd !== undefined) throw node.refuseAdd
      }
      const bytes = Buffer.concat(parts)
      return info(node.put(bytes, options.mediaType === undefined ? {} : { mediaType: options.mediaType }), { bytes, meta: {} })
    },
    async stat(digest) {
      const held = node.blobs.get(String(digest))
      return held === undefined ? undefined : info(digest, held)
    },
    async *list() {
      for (const held of node.blobs.values()) yield info(digestOf(held.bytes), held)
    },
    async remove(digest) {
      return node.blobs.delete(String(digest))
    },
    peers: () => [
      {
        peerId: '12D3KooWfake',
        address: '/ip4/127.0.0.1/tcp/1',
        connected: true,
        zone: 'a/b',
        rttMs: 1.5,
        receivedBytes: 10,
        sentBytes: 20,
        ban: undefined,
      },
    ],
    bans: () => [...node.banned.values()],
    async ban(peerId, { reason = 'by hand', forMs = 1_000 } = {}) {
      const until = new Date(forMs).toISOString()
      const ban = { peerId, reason, by: 'operator' as const, since: new Date(0).toISOString(), until, evidence: [] }
      node.banned.set(peerId, ban)
      return ban
    },
    async unban(peerId) {
      return node.banned.delete(peerId)
    },
    async status() {
      return {
        version: '0.0.0',
        peerId: '12D3KooWself',
        addresses: ['/ip4/127.0.0.1/tcp/2/p2p/12D3KooWself'],
        zone: 'a/b',
        startedAt: new Date(0).toISOString(),
        connectedPeers: 1,
        limits: { uploadBytesPerSecond: undefined, downloadBytesPerSecond: undefined },
        pausedOrigins: [],
        store: { blobs: node.blobs.size, bytes: 0, path: '/nowhere' },
        downloads: [],
        mirror: undefined,
        control: undefined,
      }
    },
    async resolveTag({ registry, repository, tag }) {
      const digest = node.tags.get(`${registry}/${repository}:${tag}`)
      const held = digest && node.origin.get(String(digest))
      if (digest === undefined || held === undefined) throw new ShoalError('ORIGIN_NOT_FOUND', `no such tag: ${tag}`)
      return { digest, mediaType: held.meta.mediaType ?? '', size: held.bytes.length }
    },
  }
  return node
}

function fakeBlob(node: FakeNode, digest: Digest, held: { bytes: Uint8Array; meta: BlobMeta }): OpenBlob {
  const { bytes, meta } = held
  return {
    digest,
    size: bytes.length,
    meta,
    async *read({ start = 0, end = bytes.length, signal }): AsyncGenerator<VerifiedChunk> {
      for (let at = start; at < end; at += CHUNK) {
        signal.throwIfAborted()
        if (node.cutAfter !== undefined && at - start >= node.cutAfter)
          throw new ShoalError('DIGEST_MISMATCH', 'the whole is wrong')
        if (node.stallAfter !== undefined && at - start >= node.stallAfter) await aborted(signal)
        node.outstanding++
        node.most = Math.max(node.most, node.outstanding)
        let held = true
        yield {
          bytes: bytes.subarray(at, Math.min(at + CHUNK, end)),
          release() {
            if (held) node.outstanding--
            held = false
          },
        }
      }
    },
    async whole({ signal }) {
      if (node.stallAfter !== undefined) await aborted(signal)
      if (node.cutAfter !== undefined) throw new ShoalError('DIGEST_MISMATCH', 'the whole is wrong')
      node.blobs.set(String(digest), held)
    },
    async [Symbol.asyncDispose]() {},
  }
}

function aborted(signal: AbortSignal): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>()
  signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  if (signal.aborted) reject(signal.reason)
  return promise
}
