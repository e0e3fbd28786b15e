import { type Digest, parseDigest } from '../protocols/digest.ts'
import { parsePeerId } from '../protocols/peer-id.ts'
import { formatZone, type ZoneLabel } from '../protocols/zone.ts'
import { banInfo, checkBan } from './ban-info.ts'
import { openContent, parseOrigin } from './content-source.ts'
import type { Discovery } from './discovery/discovery.ts'
import type { Bans } from './download/bans.ts'
import type { Downloads, OpenBlob, OpenOptions } from './download/download.ts'
import { ShoalError } from './errors.ts'
import { checkRange, createFetchedBlob } from './fetched-blob.ts'
import type { Host } from './net/host.ts'
import type { ZoneOrigin } from './origin/origin.ts'
import type { BanInfo, FetchedBlob, FetchOptions, NodeStatus, PeerInfo, ShoalNode } from './shoal-node.ts'
import type { BlobInfo, Store } from './store/store.ts'
import type { Transfer } from './transfer/transfer.ts'
import { VERSION } from './version.ts'

interface Inside {
  readonly host: Host
  readonly store: Store
  readonly transfer: Transfer
  readonly discovery: Discovery
  readonly downloads: Downloads
  readonly origin: Pick<ZoneOrigin, 'paused'>
  readonly bans: Bans
  readonly uploadRate?: number | undefined
  readonly downloadRate?: number | undefined
  readonly label: ZoneLabel
  readonly dataDir: string | undefined
  readonly shared: boolean
  /** Closes every part, in reverse order of opening. */
  readonly closing: AsyncDisposable
}

/** The public face of the parts that `node.ts` put together. */
export class RunningNode implements ShoalNode {
  readonly #in: Inside
  readonly #startedAt = new Date()
  readonly #closed = new AbortController()
  #close: Promise<void> | undefined

  constructor(inside: Inside) {
    this.#in = inside
  }

  get peerId(): string {
    return this.#in.host.peerId
  }

  get addresses(): readonly string[] {
    return this.#in.host.addresses()
  }

  async fetch(digest: string | Digest, options: FetchOptions = {}): Promise<FetchedBlob> {
    const wanted = typeof digest === 'string' ? parseDigest(digest) : digest
    const origin = options.origin === undefined ? undefined : parseOrigin(options.origin)
    const signal = options.signal ?? this.#closed.signal
    const blob = await this.open(wanted, { origin, signal })
    try {
      return createFetchedBlob(blob, checkRange(options.range, wanted, blob.size), signal)
    } catch (error) {
      await blob[Symbol.asyncDispose]()
      throw error
    }
  }

  async open(digest: Digest, options: OpenOptions): Promise<OpenBlob> {
    this.#mustRun()
    return this.#in.downloads.open(digest, options)
  }

  async add(
    content: string | URL | AsyncIterable<Uint8Array> | Uint8Array,
    options: { signal?: AbortSignal; mediaType?: string } = {},
  ): Promise<BlobInfo> {
    this.#mustRun()
    const meta = options.mediaType === undefined ? {} : { mediaType: options.mediaType }
    const info = await this.#in.store.ingest(openContent(content), { meta, signal: options.signal ?? this.#closed.signal })
    if (info.meta.restrictedTo === undefined || this.#in.shared) this.#in.discovery.announce(info.digest)
    this.#in.transfer.refresh(info.digest)
    return info
  }

  async stat(digest: Digest): Promise<BlobInfo | undefined> {
    this.#mustRun()
    const blob = await this.#in.store.open(digest)
    if (blob === undefined) return undefined
    await using held = blob
    const { geometry, have, complete, meta } = held
    const heldBytes = Math.min(geometry.size, have.count * geometry.pieceBytes)
    return { digest, size: geometry.size, complete, heldBytes, meta, storedAt: held.storedAt }
  }

  list(): AsyncIterable<BlobInfo> {
    this.#mustRun()
    return this.#in.store.list()
  }

  async remove(digest: Digest): Promise<boolean> {
    this.#mustRun()
    const existed = await this.#in.store.delete(digest)
    this.#in.discovery.withdraw(digest)
    this.#in.transfer.refresh(digest)
    return existed
  }

  peers(): readonly PeerInfo[] {
    const { host, discovery, transfer, bans } = this.#in
    const connected = new Map(host.peers().map((peer) => [peer.id, peer]))
    const members = new Map(discovery.members().map((member) => [member.peer.id, member]))
    const traffic = new Map(transfer.traffic().map((t) => [t.peerId, t]))
    const banned = new Map(bans.list().map((ban) => [ban.peerId, ban]))
    const ids = new Set([...connected.keys(), ...members.keys(), ...banned.keys()])
    return [...ids].map((peerId) => {
      const ban = banned.get(peerId)
      const member = members.get(peerId)
      return {
        peerId,
        address: connected.get(peerId)?.address ?? member?.peer.addresses[0],
        connected: connected.has(peerId),
        zone: member === undefined ? undefined : formatZone(member.label),
        rttMs: connected.get(peerId)?.rttMs,
        receivedBytes: traffic.get(peerId)?.receivedBytes ?? 0,
        sentBytes: traffic.get(peerId)?.sentBytes ?? 0,
        ban: ban === undefined ? undefined : { reason: ban.reason, until: new Date(ban.until).toISOString() },
      }
    })
  }

  bans(): readonly BanInfo[] {
    return this.#in.bans.list().map(banInfo)
  }

  async ban(peerId: string, options: { reason?: string; forMs?: number } = {}): Promise<BanInfo> {
    this.#mustRun()
    const { reason, forMs } = checkBan(parsePeerId(peerId), this.peerId, options)
    return banInfo(await this.#in.bans.order(peerId, reason, forMs))
  }

  async unban(peerId: string): Promise<boolean> {
    this.#mustRun()
    return this.#in.bans.lift(parsePeerId(peerId))
  }

  async status(): Promise<NodeStatus> {
    this.#mustRun()
    const { host, store, downloads, origin, label, dataDir, uploadRate, downloadRate } = this.#in
    return {
      version: VERSION,
      peerId: host.peerId,
      addresses: host.addresses(),
      zone: formatZone(label),
      startedAt: this.#startedAt.toISOString(),
      connectedPeers: host.peers().length,
      store: { ...(await store.usage()), path: dataDir },
      downloads: downloads.progress(),
      limits: { uploadBytesPerSecond: uploadRate, downloadBytesPerSecond: downloadRate },
      pausedOrigins: origin.paused(),
      mirror: undefined,
      control: undefined,
    }
  }

  close(): Promise<void> {
    this.#close ??= this.#closeParts()
    return this.#close
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  async #closeParts(): Promise<void> {
    this.#closed.abort(new ShoalError('NODE_CLOSED', 'the node is closed'))
    await this.#in.closing[Symbol.asyncDispose]()
  }

  #mustRun(): void {
    this.#closed.signal.throwIfAborted()
  }
}
