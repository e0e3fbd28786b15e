import { join } from 'node:path'
import type { Digest } from '../protocols/digest.ts'
import type { TagQuestion } from '../protocols/tag/codec.ts'
import { parseZone, type ZoneLabel } from '../protocols/zone.ts'
import { SYSTEM_CLOCK } from './clock.ts'
import type { Discovery } from './discovery/discovery.ts'
import { openDiscovery } from './discovery/mesh.ts'
import { openVouching, type TagWord } from './discovery/vouch.ts'
import { Accusations } from './download/accusations.ts'
import { createBanFolder } from './download/ban-folder.ts'
import { Bans } from './download/bans.ts'
import { NodeDownloads } from './download/downloads.ts'
import { createLibrary } from './download/library.ts'
import { Mending } from './download/mending.ts'
import { openWitness } from './download/witness.ts'
import type { Host, PeerRef } from './net/host.ts'
import { createIdentity, loadIdentity } from './net/identity.ts'
import { openLibp2pHost } from './net/libp2p.ts'
import { openOrigin } from './origin/open-origin.ts'
import type { Origin } from './origin/origin.ts'
import { limitOf } from './rate-limit.ts'
import { openRendezvous } from './rendezvous/open-rendezvous.ts'
import { RunningNode } from './running-node.ts'
import type { ShoalNode } from './shoal-node.ts'
import { openDiskStore } from './store/disk.ts'
import { createMemoryStore } from './store/memory.ts'
import type { Store } from './store/store.ts'
import { type Log, SILENT } from './telemetry/log.ts'
import { createPrometheus, type Prometheus } from './telemetry/prometheus.ts'
import { openTransfer } from './transfer/open-transfer.ts'
import { VERSION } from './version.ts'
import { ZoneTags } from './zone-tags.ts'

export type * from './shoal-node.ts'

export interface NodeOptions {
  /** Where identity, catalog and blobs are kept; without it everything is in memory and gone with the node. */
  readonly dataDir?: string
  /** Multiaddrs to listen on. Default: any free port of the loopback interface. */
  readonly listen?: readonly string[]
  /** Multiaddrs peers are told instead of those listened on. */
  readonly announce?: readonly string[]
  /** Multiaddrs of peers to connect to, with `/p2p/<id>`. */
  readonly bootstrap?: readonly string[]
  /** `region/zone` or `region/zone/rack`. Default `default/default`. */
  readonly zone?: string | ZoneLabel
  /** URL of each registry that is not simply at `https://NAME`. */
  readonly upstream?: ReadonlyMap<string, URL>
  /** Whoever reaches this node may read everything in it. Default false: what came with a client's credentials is kept back. */
  readonly shared?: boolean
  /** Default true. */
  readonly dht?: boolean
  /** Default true. */
  readonly gossip?: boolean
  /** Bytes a second to all peers together. Default: as fast as it goes. */
  readonly uploadRate?: number | undefined
  /** Bytes a second from peers and origins together. Default: as fast as it goes. */
  readonly downloadRate?: number | undefined
  /** Requests at a time by the name of a registry or host, `*` for each of all others: for blobs, and as many besides. Default 8. */
  readonly originRequests?: ReadonlyMap<string, number>
  /** Bytes a second by the name of a registry or host, `*` for each of all others. */
  readonly originRate?: ReadonlyMap<string, number | undefined>
  /** Who is asked what a tag means: one member of the zone for all (default), or the registry by each node. */
  readonly tags?: 'zone' | 'registry'
  readonly log?: Log
}

/** A node and what the listeners around it need besides. */
export interface NodeParts {
  readonly node: ShoalNode
  readonly host: Host
  readonly downloads: NodeDownloads
  readonly origin: Origin
  readonly store: Store
  readonly bans: Bans
  readonly metrics: Prometheus
  /** What peers say a tag means: the freshest answer. */
  askTag(question: TagQuestion, options: { signal: AbortSignal }): Promise<{ answer: TagWord; peerId: string } | undefined>
  /** What tags mean while their registry answers. */
  readonly tags: ZoneTags
}

/**
 * Opens a node, and waits a moment for a first bootstrap peer so that what is asked next can come from peers.
 * `await using node = await openNode({ bootstrap: ['/ip4/…/tcp/7402/p2p/…'] })`.
 * @throws ShoalError CONFIG_INVALID, ZONE_INVALID, ADDRESS_INVALID, STORE_LOCKED, STORE_FAILED
 */
export async function openNode(options: NodeOptions = {}): Promise<ShoalNode> {
  const { node, host } = await openNodeParts(options)
  if ((options.bootstrap ?? []).length > 0) await firstPeer(host)
  return node
}

export async function openNodeParts(options: NodeOptions): Promise<NodeParts> {
  const log = options.log ?? SILENT
  const label = typeof options.zone === 'object' ? options.zone : parseZone(options.zone ?? 'default/default')
  const shared = options.shared ?? false
  const downloadLimit = limitOf(options.downloadRate)
  await using stack = new AsyncDisposableStack()

  const metrics = createPrometheus({
    connectedPeers: () => host.peers().length,
    storedBytes: async () => (await store.usage()).bytes,
  })
  const store = stack.use(await openStore(options.dataDir, { log, metrics }))
  const { dataDir } = options
  const host = stack.use(
    await openLibp2pHost({
      identity: dataDir === undefined ? await createIdentity() : await loadIdentity(join(dataDir, 'identity.key')),
      listen: options.listen ?? ['/ip4/127.0.0.1/tcp/0'],
      announce: options.announce ?? [],
      bootstrap: options.bootstrap ?? [],
      dht: options.dht ?? true,
      gossip: options.gossip ?? true,
      datastorePath: dataDir === undefined ? undefined : join(dataDir, 'peers'),
      version: VERSION,
      log,
    }),
  )
  const bans = stack.use(
    new Bans({ host, log, folder: dataDir === undefined ? undefined : createBanFolder(join(dataDir, 'bans'), log) }),
  )
  await bans.load()
  const accusations = new Accusations()
  const library = createLibrary({ host, store, shared, incoming: (digest) => downloads.incoming(digest) })
  const uploadLimit = limitOf(options.uploadRate)
  const onDamage = (digest: Digest) => mending.mend(digest)
  const transfer = stack.use(await openTransfer({ host, library, metrics, uploadLimit, log, onDamage }))
  const origin = stack.use(
    await openOrigin({
      upstreams: options.upstream ?? new Map(),
      requests: options.originRequests ?? new Map(),
      rate: options.originRate ?? new Map(),
      download: downloadLimit,
      onPause: (pause) => discovery.tellPause(pause),
      via: host.peerId,
      log,
    }),
  )
  const discovery = stack.use(
    await openDiscovery({
      host,
      label,
      roles: [],
      version: VERSION,
      load: () => transfer.load,
      heldDigests: () => announceable(store, shared),
      onPause: (author, pause) => {
        if (!bans.has(author)) origin.heed(author, pause)
      },
      log,
    }),
  )
  const vouching = stack.use(await openVouching({ host, lookup: (question, asker) => tags.answer(question, asker), log }))
  const members = () => discovery.members().flatMap(({ peer }) => (bans.has(peer.id) ? [] : peer))
  const tags = new ZoneTags({
    self: host.peerId,
    members,
    vouching,
    origin,
    records: store.tags,
    ask: options.tags ?? 'zone',
    clock: SYSTEM_CLOCK,
    wallClock: Date.now,
    random: Math.random,
    log,
  })
  const rendezvous = stack.use(
    await openRendezvous({
      host,
      members,
      caught: (digest) => downloads.incoming(digest)?.doubts.caught,
      log,
    }),
  )
  const downloads: NodeDownloads = stack.use(
    new NodeDownloads({
      peerId: host.peerId,
      store,
      discovery,
      transfer,
      origin,
      rendezvous,
      bans,
      accusations,
      metrics,
      log,
      downloadLimit,
      shared,
      label,
      connected: () => connectedPeers(host),
      random: Math.random,
    }),
  )

  const mending = stack.use(new Mending({ store, downloads, onLoss: (digest) => transfer.refresh(digest), log }))
  const knows = (peerId: string) => host.isConnected(peerId) || discovery.members().some(({ peer }) => peer.id === peerId)
  stack.use(await openWitness({ host, store, bans, accusations, knows, downloads, shared, log }))

  const closing = stack.move()
  const node = new RunningNode({
    ...options,
    host,
    store,
    transfer,
    discovery,
    downloads,
    origin,
    bans,
    label,
    dataDir,
    shared,
    closing,
  })
  return {
    node,
    host,
    downloads,
    origin,
    store,
    bans,
    metrics,
    askTag: (question, { signal }) => vouching.ask(question, knownPeers(host, discovery), { signal }),
    tags,
  }
}

function openStore(dataDir: string | undefined, telemetry: { log: Log; metrics: Prometheus }): Promise<Store> {
  return dataDir === undefined
    ? Promise.resolve(createMemoryStore())
    : openDiskStore({ path: join(dataDir, 'store'), ...telemetry })
}

/** Blobs that peers may be told of: whole, and not fetched with somebody's credentials. */
async function* announceable(store: Store, shared: boolean): AsyncGenerator<Digest> {
  for await (const { digest, complete, meta } of store.list()) {
    if (complete && (shared || meta.restrictedTo === undefined)) yield digest
  }
}

function connectedPeers(host: Host): PeerRef[] {
  return host.peers().map(({ id, address }) => ({ id, addresses: [address] }))
}

function knownPeers(host: Host, discovery: Discovery): PeerRef[] {
  const peers = new Map(connectedPeers(host).map((peer) => [peer.id, peer]))
  for (const { peer } of discovery.members()) if (!peers.has(peer.id)) peers.set(peer.id, peer)
  return [...peers.values()]
}

/** How long a fresh node waits for its first peer before it is given to its caller. */
const FIRST_PEER_MS = 2_000

async function firstPeer(host: Host): Promise<void> {
  const met = Promise.withResolvers<void>()
  const unsubscribe = host.onPeer(({ type }) => type === 'connect' && met.resolve())
  const late = setTimeout(met.resolve, FIRST_PEER_MS)
  if (host.peers().length > 0) met.resolve()
  await met.promise
  clearTimeout(late)
  unsubscribe()
}
