import { createHash } from 'node:crypto'
import { type GossipSub, type GossipsubOpts, gossipsub, StrictSign } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import type { Libp2p } from '@libp2p/interface'
import { type KadDHT, kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { mplex } from '@libp2p/mplex'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { type TCPSocketOptions, tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { createLibp2p } from 'libp2p'
import { parseAddresses } from './addresses.ts'
import { corked } from './corked.ts'
import type { Gater } from './gater.ts'
import type { Libp2pHostOptions } from './libp2p.ts'
import { NOISE_CRYPTO } from './noise-crypto.ts'
import { quickFrames } from './noise-frames.ts'
import type { PeerDatastore } from './peer-datastore.ts'
import { fewWindowUpdates } from './window-updates.ts'

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const MIB = 1 << 20

const DHT_PROTOCOL = '/shoal/kad/1'
/** How long a provider record lives without being provided again. */
const PROVIDER_VALIDITY_MS = 6 * HOUR_MS
/**
 * What a paused reader lets a sender have in flight. At most `maxReadBufferLength`, or pausing a stream whose window
 * has grown would abort it.
 */
const STREAM_WINDOW_BYTES = 4 * MIB
const READ_BUFFER_BYTES = 16 * MIB
/** One slice: less makes a write wait several times, more only lies there. */
const SOCKET_BUFFER_BYTES = 256 << 10
const MAX_CONNECTIONS = 1000

type GossipMessage = Parameters<NonNullable<GossipsubOpts['fastMsgIdFn']>>[0]

export type ShoalLibp2p = Libp2p<{ gossip?: GossipSub; dht?: KadDHT }>

/** The node, not started. Every setting that is not libp2p's own default has its reason in facts that a test holds. */
export async function createNode(
  options: Libp2pHostOptions,
  gater: Gater,
  datastore: PeerDatastore | undefined,
): Promise<ShoalLibp2p> {
  return (await createLibp2p({
    start: false,
    privateKey: options.identity.privateKey,
    nodeInfo: { name: 'shoal', version: options.version, userAgent: `shoal/${options.version}` },
    addresses: { listen: parseAddresses(options.listen), announce: parseAddresses(options.announce) },
    ...(datastore === undefined ? {} : { datastore }),
    // A provider whose addresses were forgotten makes every server fail the whole answer (kad-dht GET_PROVIDERS).
    peerStore: { maxAddressAge: 2 * PROVIDER_VALIDITY_MS, maxPeerAge: 4 * PROVIDER_VALIDITY_MS },
    transports: [transport()],
    connectionEncrypters: [quickFrames(corked(noise({ crypto: NOISE_CRYPTO })))],
    streamMuxers: muxers(),
    connectionGater: gater.rules,
    connectionManager: {
      maxConnections: options.maxConnections ?? MAX_CONNECTIONS,
      // The defaults, 5 a second from one address and 10 at a time, refuse a cluster that starts behind one NAT.
      inboundConnectionThreshold: 500,
      maxIncomingPendingConnections: 200,
      addressDialTimeout: 5_000,
    },
    // An event loop that is busy for some seconds is no reason to cut a transfer.
    connectionMonitor: { pingInterval: 30_000, pingTimeout: { minTimeout: 15_000 } },
    services: {
      identify: identify(),
      ping: ping(),
      ...(options.dht ? { dht: dht() } : {}),
      ...(options.gossip ? { gossip: gossip() } : {}),
    },
  })) as ShoalLibp2p
}

function transport() {
  const socket: TCPSocketOptions & { highWaterMark: number } = {
    noDelay: true,
    keepAlive: true,
    highWaterMark: SOCKET_BUFFER_BYTES,
  }
  return tcp({ dialOpts: socket, listenOpts: socket, backlog: 1024 })
}

/** mplex for a peer that has nothing else: it has no flow control, so only requests bound what it holds. */
function muxers() {
  const streamOptions = { maxReadBufferLength: READ_BUFFER_BYTES, maxWriteBufferLength: READ_BUFFER_BYTES }
  return [fewWindowUpdates(yamux({ streamOptions: { ...streamOptions, maxStreamWindowSize: STREAM_WINDOW_BYTES } })), mplex()]
}

function dht() {
  return kadDHT({
    protocol: DHT_PROTOCOL,
    // By default a node serves only when it has a public address, and does not pass private ones on.
    clientMode: false,
    peerInfoMapper: passthroughMapper,
    // Otherwise a lone node's provide waits for a peer until it times out.
    allowQueryWithZeroPeers: true,
    // Each look-up and each record goes to so many peers. Twenty are for a public network, where most are gone tomorrow.
    kBucketSize: 8,
    initialQuerySelfInterval: 100,
    reprovide: { validity: PROVIDER_VALIDITY_MS, threshold: PROVIDER_VALIDITY_MS / 2, interval: 30 * MINUTE_MS },
  })
}

function gossip() {
  return gossipsub({
    globalSignaturePolicy: StrictSign,
    // Without it each copy of a message has its signature checked before it is found to be one.
    fastMsgIdFn: wholeMessageId,
    fallbackToFloodsub: false,
    emitSelf: false,
    allowPublishToZeroTopicPeers: true,
    ignoreDuplicatePublishError: true,
    floodPublish: false,
    batchPublish: true,
    // More than ten peers behind one address would be thrown out of the mesh.
    scoreParams: { IPColocationFactorWeight: 0 },
    maxInboundDataLength: MIB,
    maxOutboundBufferSize: 4 * MIB,
  })
}

/** Covers every byte, the signature included: what was checked once needs no second look, and nothing else passes for it. */
function wholeMessageId({ from, seqno, topic, data, signature, key }: GossipMessage): string {
  const hash = createHash('sha256')
  for (const part of [from, seqno, Buffer.from(topic), data, signature, key]) {
    hash.update(`${part?.byteLength ?? 0} `)
    if (part !== undefined) hash.update(part)
  }
  return hash.digest('base64')
}
