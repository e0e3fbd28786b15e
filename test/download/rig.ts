/** Whole nodes, from store to transfer, in memory and in one process; only what a test scripts is not the real part. */
import { randomBytes } from 'node:crypto'
import type { TestContext } from 'node:test'
import { pino } from 'pino'
import { type Digest, digestOf } from '../../protocols/digest.ts'
import { MIN_PIECE_BYTES } from '../../protocols/pieces.ts'
import { createMemoryDiscovery, createSharedDiscovery, type SharedDiscovery } from '../../src/discovery/memory.ts'
import { Accusations } from '../../src/download/accusations.ts'
import { Bans } from '../../src/download/bans.ts'
import { NodeDownloads } from '../../src/download/downloads.ts'
import { createLibrary } from '../../src/download/library.ts'
import { Mending } from '../../src/download/mending.ts'
import { openWitness } from '../../src/download/witness.ts'
import { codeOf, type ErrorCode } from '../../src/errors.ts'
import type { Host, PeerRef } from '../../src/net/host.ts'
import { createMemoryNetwork, type MemoryNetwork } from '../../src/net/memory.ts'
import type { OriginSource } from '../../src/origin/origin.ts'
import type { RateLimit } from '../../src/rate-limit.ts'
import { ALONE } from '../../src/rendezvous/alone.ts'
import { openRendezvous } from '../../src/rendezvous/open-rendezvous.ts'
import type { Rendezvous } from '../../src/rendezvous/rendezvous.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import type { BlobMeta, Store } from '../../src/store/store.ts'
import { type Log, SILENT } from '../../src/telemetry/log.ts'
import type { Metrics } from '../../src/telemetry/metrics.ts'
import { openTransfer } from '../../src/transfer/open-transfer.ts'
import type { Transfer } from '../../src/transfer/transfer.ts'
import { createScriptedOrigin, type OriginScript, type ScriptedOrigin } from './scripted-origin.ts'
import { openScriptedPeer, type PeerScript, type ScriptedPeer } from './scripted-peer.ts'

export const PIECE = MIN_PIECE_BYTES
/** Nobody here is far away: silence means something sooner than on a real network. */
const QUICK = { startPatienceMs: 100, minPatienceMs: 50, haveMs: 1 }
const LABEL = { region: 'test', zone: 'memory', rack: undefined }
const ELSEWHERE = { ...LABEL, zone: 'elsewhere' }

export interface Counts {
  readonly bytes: Record<'origin' | 'peer', number>
  readonly failed: Record<'peer' | 'origin' | 'disk', number>
  readonly ended: Record<'complete' | 'cancelled' | 'failed', number>
}

export interface LogLine {
  readonly msg: string
  readonly [key: string]: unknown
}

export interface TestNode extends AsyncDisposable {
  readonly host: Host
  readonly ref: PeerRef
  readonly store: Store
  readonly transfer: Transfer
  readonly downloads: NodeDownloads
  readonly bans: Bans
  readonly accusations: Accusations
  readonly origin: ScriptedOrigin
  readonly counts: Counts
  readonly log: readonly LogLine[]
  /** Holds this content, and says so. */
  seed(bytes: Uint8Array, meta?: BlobMeta): Promise<Digest>
  /** Reads a blob, or a part of it, to the end. */
  read(digest: Digest, options?: ReadOptions): Promise<Buffer>
}

export interface ReadOptions {
  readonly origin?: OriginSource
  readonly start?: number
  readonly end?: number
  readonly signal?: AbortSignal
  /** Shown each chunk as it comes. */
  readonly onChunk?: (bytes: Uint8Array) => void
}

export interface NodeOptions {
  readonly origin?: OriginScript
  readonly store?: Store
  readonly shared?: boolean
  readonly host?: Host
  readonly downloadLimit?: RateLimit
  /** It shares out imports with the others that have it set, as the members of a zone do. */
  readonly zone?: boolean
  /** It stands in another zone than the others. */
  readonly elsewhere?: boolean
}

export interface World {
  readonly network: MemoryNetwork
  readonly shared: SharedDiscovery
  node(options?: NodeOptions): Promise<TestNode>
  /** A peer that says and does what the script says, and is known as a holder unless it is not to be. */
  peer(script: PeerScript, options?: { announced?: boolean }): Promise<ScriptedPeer>
}

/** A network and what is known on it; everything opened is closed when the test ends. */
export function createWorld(t: TestContext): World {
  const network = createMemoryNetwork()
  const shared = createSharedDiscovery()
  const stack = new AsyncDisposableStack()
  t.after(() => stack.disposeAsync())
  const zone: PeerRef[] = []
  async function rendezvousOf(host: Host, inZone: boolean, downloads: () => NodeDownloads): Promise<Rendezvous> {
    if (!inZone) return ALONE
    zone.push({ id: host.peerId, addresses: host.addresses() })
    const members = () => zone.filter(({ id }) => id !== host.peerId)
    const caught = (digest: Digest) => downloads().incoming(digest)?.doubts.caught ?? new Set<string>()
    return stack.use(await openRendezvous({ host, members, caught, log: SILENT }))
  }
  return {
    network,
    shared,
    node: async (options = {}) => {
      const host = options.host ?? network.host()
      const rendezvous = await rendezvousOf(host, options.zone === true, () => node.downloads)
      const node: TestNode = stack.use(await openTestNode(host, shared, options, rendezvous))
      return node
    },
    peer: async (script, { announced = true } = {}) => {
      const peer = stack.use(await openScriptedPeer(network.host(), script))
      const discovery = stack.use(createMemoryDiscovery(shared, { peer: peer.ref, label: LABEL }))
      if (announced) discovery.announce(script.digest)
      return peer
    },
  }
}

async function openTestNode(
  host: Host,
  sharedDiscovery: SharedDiscovery,
  { origin: script, store = createMemoryStore(), shared = false, downloadLimit, elsewhere = false }: NodeOptions,
  rendezvous: Rendezvous,
): Promise<TestNode> {
  const origin = createScriptedOrigin(script)
  const lines: LogLine[] = []
  const log: Log = pino({ level: 'debug', base: null }, { write: (line: string) => void lines.push(JSON.parse(line)) })
  const { metrics, counts } = createCounts()
  const ref = { id: host.peerId, addresses: host.addresses() }
  const bans = new Bans({ host, log })
  const accusations = new Accusations()
  const library = createLibrary({ host, store, shared, incoming: (digest) => downloads.incoming(digest) })
  const onDamage = (digest: Digest) => mending.mend(digest)
  const transfer = await openTransfer({ host, library, metrics, log, limits: QUICK, onDamage })
  const label = elsewhere ? ELSEWHERE : LABEL
  const discovery = createMemoryDiscovery(sharedDiscovery, { peer: ref, label })
  const downloads: NodeDownloads = new NodeDownloads({
    peerId: host.peerId,
    store,
    discovery,
    transfer,
    origin,
    rendezvous,
    connected: () => [],
    bans,
    accusations,
    metrics,
    log,
    downloadLimit,
    shared,
    label,
    random: Math.random,
  })
  const mending = new Mending({ store, downloads, onLoss: (digest) => transfer.refresh(digest), log })
  const knows = (peerId: string) => host.isConnected(peerId)
  const witness = await openWitness({ host, store, bans, accusations, knows, downloads, shared, log })
  return {
    host,
    ref,
    store,
    transfer,
    downloads,
    bans,
    accusations,
    origin,
    counts,
    log: lines,
    seed: async (bytes, meta) => {
      const source = (async function* () {
        yield bytes
      })()
      const { digest } = await store.ingest(source, { ...(meta === undefined ? {} : { meta }), signal: NEVER })
      discovery.announce(digest)
      return digest
    },
    read: async (digest, { origin, start = 0, end, signal = NEVER, onChunk } = {}) => {
      await using blob = await downloads.open(digest, { origin, signal })
      const chunks: Buffer[] = []
      for await (const { bytes, release } of blob.read({ start, end: end ?? blob.size, signal })) {
        chunks.push(Buffer.from(bytes))
        onChunk?.(bytes)
        release()
      }
      return Buffer.concat(chunks)
    },
    [Symbol.asyncDispose]: async () => {
      await mending[Symbol.asyncDispose]()
      await witness[Symbol.asyncDispose]()
      await downloads[Symbol.asyncDispose]()
      await bans[Symbol.asyncDispose]()
      await discovery[Symbol.asyncDispose]()
      await transfer[Symbol.asyncDispose]()
      await host[Symbol.asyncDispose]()
      await store[Symbol.asyncDispose]()
    },
  }
}

function createCounts(): { metrics: Metrics; counts: Counts } {
  const counts: Counts = {
    bytes: { origin: 0, peer: 0 },
    failed: { peer: 0, origin: 0, disk: 0 },
    ended: { complete: 0, cancelled: 0, failed: 0 },
  }
  const metrics: Metrics = {
    downloaded: (source, bytes) => {
      counts.bytes[source] += bytes
    },
    served() {},
    pieceFailed: (where) => {
      counts.failed[where]++
    },
    wasted() {},
    downloadEnded: (outcome) => {
      counts.ended[outcome]++
    },
  }
  return { metrics, counts }
}

export const NEVER = new AbortController().signal

/** Content that no two calls share, and its name. */
export function content(size: number, algorithm: 'sha256' | 'sha512' = 'sha256'): { bytes: Buffer; digest: Digest } {
  const bytes = randomBytes(size)
  return { bytes, digest: digestOf(bytes, algorithm) }
}

/** The same bytes with one bit wrong in each of these pieces. */
export function flipped(bytes: Uint8Array, ...pieces: number[]): Buffer {
  const copy = Buffer.from(bytes)
  for (const index of pieces) copy[index * PIECE] = (copy[index * PIECE] as number) ^ 1
  return copy
}

export function withCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => {
    if (codeOf(error) !== code) throw new Error(`expected ${code}, got ${codeOf(error)}: ${error}`, { cause: error })
    return true
  }
}
