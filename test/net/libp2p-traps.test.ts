/** What today's libp2p releases would do to us, one test each. The back-pressure traps are in the conformance suite. */
import assert from 'node:assert/strict'
import { once } from 'node:events'
import { Socket } from 'node:net'
import { it, type TestContext } from 'node:test'
import { identify } from '@libp2p/identify'
import { kadDHT, passthroughMapper } from '@libp2p/kad-dht'
import { mplex } from '@libp2p/mplex'
import { noise } from '@libp2p/noise'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'
import { WRITE_BYTES } from '../../src/net/channel.ts'
import type { Host } from '../../src/net/host.ts'
import { Libp2pChannel } from '../../src/net/libp2p-channel.ts'
import { serveStream } from '../../src/net/serve-stream.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { collect, live, pattern, refer, withCode } from '../conformance/host.ts'
import { settled, until } from '../helpers/until.ts'
import { openTcpProxy } from './tcp-proxy.ts'
import { LOOPBACK, openTestHost } from './test-host.ts'

const PROTOCOL = '/shoal-test/1'
const DHT = { protocol: '/shoal/kad/1', clientMode: false, peerInfoMapper: passthroughMapper }
const LIMITS = { maxInboundStreams: 16 }

it('gossip reaches every one of 14 hosts behind one IP address', { timeout: 60_000 }, async (t) => {
  const hub = await opened(t, { dht: false })
  const leaves = await Promise.all(Array.from({ length: 13 }, () => opened(t, { dht: false, bootstrap: hub.addresses() })))
  const hosts = [hub, ...leaves]
  const got = hosts.map(() => new Set<number>())
  hosts.forEach((host, i) => {
    host.topics?.subscribe(
      'news',
      () => 'accept',
      ({ data }) => got[i]?.add(data[0] as number),
    )
  })
  await until('all are connected', () => hub.peers().length === 13)
  const author = leaves[0] as Host
  const everywhere = (n: number) => got.every((seen, i) => hosts[i] === author || seen.has(n))
  let n = 0
  await until('the mesh has formed', async () => {
    await author.topics?.publish('news', Uint8Array.of(++n))
    return got.every((_, i) => hosts[i] === author || [...Array(n + 1).keys()].some(everywhere))
  })
  for (let more = 200; more < 205; more++) await author.topics?.publish('news', Uint8Array.of(more))
  await until('five more are everywhere', () => [200, 201, 202, 203, 204].every(everywhere))
})

it('takes in 20 hosts that come at once from one address', async (t) => {
  const hub = await opened(t, { dht: false })
  const hosts = await Promise.all(Array.from({ length: 20 }, () => opened(t, { dht: false, gossip: false })))
  await Promise.all(hosts.map((host) => host.connect(refer(hub), live())))
  for (const host of hosts) assert.ok(host.isConnected(hub.peerId))
  await until('the hub knows them all', () => hub.peers().length === 20)
})

it('finds a provider although a server fails because of another that is gone', async (t) => {
  const [finder, provider, ghost] = [await opened(t), await opened(t), await opened(t)]
  // A server as libp2p sets it up by default would be an hour later: it has forgotten the addresses.
  const server = await rawPeer(t, [yamux()], {
    peerStore: { maxAddressAge: 1, maxPeerAge: 1 },
    services: { identify: identify(), ping: ping(), dht: kadDHT(DHT) as () => unknown },
  })
  const cid = CID.createV1(0x55, await sha256.digest(Buffer.from('kelp')))
  const at = { id: server.peerId.toString(), addresses: server.getMultiaddrs().map(String) }
  for (const host of [ghost, provider, finder]) await host.connect(at, live())
  await finder.connect(refer(provider), live())
  await ghost.routing?.provide(cid, live())
  await provider.routing?.provide(cid, live())
  await ghost[Symbol.asyncDispose]()
  const found = new Set<string>()
  await until('the provider was found', async () => {
    for await (const peer of finder.routing?.find(cid, live()) ?? []) found.add(peer.id)
    return found.has(provider.peerId)
  })
})

it('a lone host may provide at once', async (t) => {
  const host = await opened(t)
  const cid = CID.createV1(0x55, await sha256.digest(Buffer.from('kelp')))
  await host.routing?.provide(cid, { signal: AbortSignal.timeout(2_000) })
})

it('moves data with a peer that has no muxer but mplex', async (t) => {
  const host = await opened(t)
  await host.handle(PROTOCOL, LIMITS, (channel) => channel.read((chunk) => channel.write([chunk])))
  const peer = await rawPeer(t, [mplex()])
  const stream = await peer.dialProtocol(host.addresses().map(multiaddr), PROTOCOL)
  assert.equal(peer.getConnections()[0]?.multiplexer, '/mplex/6.7.0')
  const channel = new Libp2pChannel(stream, host.peerId)
  const back = collect(channel)
  const sent = pattern(3 * WRITE_BYTES + 5)
  await channel.write([sent])
  await channel.close()
  assert.ok((await back).equals(sent))
})

it('takes a connection that ended in the middle of a stream for a loss, not for an end', async (t) => {
  const [a, b] = [await opened(t), await opened(t)]
  await b.handle(PROTOCOL, LIMITS, async (channel) => {
    await channel.write([pattern(1000)])
    await channel.read(() => {})
  })
  const proxy = await openTcpProxy(t, b)
  const channel = await a.open(proxy.peer, PROTOCOL, live())
  const first = Promise.withResolvers<void>()
  const reading = assert.rejects(
    channel.read(() => first.resolve()),
    withCode('PEER_GONE'),
  )
  await first.promise
  proxy.end()
  await reading
  assert.ok(channel.closed.aborted)
})

it('a host that hangs holds up nobody else, holds little, and is let go when it is cut', async (t) => {
  const [a, hung, other] = [await opened(t), await opened(t), await opened(t)]
  for (const host of [hung, other]) await host.handle(PROTOCOL, LIMITS, (channel) => channel.read(() => {}))
  const proxy = await openTcpProxy(t, hung)
  const stuck = await a.open(proxy.peer, PROTOCOL, live())
  await stuck.write([pattern(10)])
  proxy.stall()
  let accepted = 0
  const before = process.memoryUsage().arrayBuffers
  const block = pattern(WRITE_BYTES)
  const writing = assert.rejects(async () => {
    for (; ; accepted += WRITE_BYTES) await stuck.write([block])
  }, withCode('PEER_GONE'))
  assert.ok((await settled(() => accepted)) < 16 << 20, `${accepted} bytes were accepted`)
  const grown = process.memoryUsage().arrayBuffers - before
  assert.ok(grown < 24 << 20, `${grown} bytes are held`)
  const free = await a.open(refer(other), PROTOCOL, live())
  for (let i = 0; i < 64; i++) await free.write([block])
  await free.close()
  await free.read(() => {})
  stuck.abort(new Error('it hangs'))
  await writing
})

it('leaves no listener behind on a stream, however many writes had to wait', async (t) => {
  const host = await opened(t)
  await host.handle(PROTOCOL, LIMITS, async (channel) => {
    await channel.read(() => new Promise((resolve) => setImmediate(resolve)))
    await channel.write([pattern(1)])
  })
  const peer = await rawPeer(t, [yamux()])
  const stream = await peer.dialProtocol(host.addresses().map(multiaddr), PROTOCOL)
  const count = () => ['message', 'end', 'drain', 'close'].map((type) => stream.listenerCount(type))
  const channel = new Libp2pChannel(stream, host.peerId)
  const before = count()
  for (let i = 0; i < 50; i++) await channel.write([pattern(WRITE_BYTES)])
  await channel.close()
  await channel.read(() => {})
  for (const [i, n] of count().entries()) assert.ok(n <= (before[i] as number), `${count()} after ${before}`)
})

it('costs about one system call for each slice that is sent, the window updates that come back included', async (t) => {
  const [from, to] = [await opened(t), await opened(t)]
  const SLICES = 128
  const arrived = Promise.withResolvers<void>()
  await to.handle(PROTOCOL, LIMITS, async (channel) => {
    let bytes = 0
    await channel.read((chunk) => {
      bytes += chunk.byteLength
      if (bytes === SLICES * WRITE_BYTES) arrived.resolve()
    })
  })
  const channel = await from.open(refer(to), PROTOCOL, live())
  const writes = countSocketWrites(t)
  for (let i = 0; i < SLICES; i++) await channel.write([pattern(WRITE_BYTES)])
  await arrived.promise
  assert.ok(writes() < 1.8 * SLICES, `${writes()} system calls for ${SLICES} slices`)
  await channel.close()
})

it('frees a stream whose peer never closes its side', async (t) => {
  const [server, peer] = [await rawPeer(t, [yamux()]), await rawPeer(t, [yamux()])]
  await server.handle(PROTOCOL, (stream, { remotePeer }) => {
    const channel = new Libp2pChannel(stream, remotePeer.toString())
    return serveStream(channel, (served) => served.write([pattern(1)]), SILENT, 20)
  })
  const stream = await peer.dialProtocol(server.getMultiaddrs(), PROTOCOL)
  await once(stream, 'close')
  assert.deepEqual(
    server.getConnections()[0]?.streams.filter(({ protocol }) => protocol === PROTOCOL),
    [],
  )
})

/** System calls that all sockets of this process make to send, until the test ends. */
function countSocketWrites(t: TestContext): () => number {
  const prototype = Socket.prototype as unknown as Record<'_write' | '_writev', (...args: unknown[]) => void>
  let count = 0
  for (const name of ['_write', '_writev'] as const) {
    const stock = prototype[name]
    prototype[name] = function (this: Socket, ...args) {
      count++
      stock.apply(this, args)
    }
    t.after(() => {
      prototype[name] = stock
    })
  }
  return () => count
}

async function opened(t: TestContext, options: Parameters<typeof openTestHost>[0] = {}): Promise<Host> {
  const host = await openTestHost(options)
  t.after(() => host[Symbol.asyncDispose]())
  return host
}

/** A libp2p node as somebody else would build it. */
async function rawPeer(
  t: TestContext,
  streamMuxers: NonNullable<Parameters<typeof createLibp2p>[0]>['streamMuxers'],
  options: Parameters<typeof createLibp2p>[0] = {},
) {
  const node = await createLibp2p({
    addresses: { listen: [LOOPBACK] },
    transports: [tcp()],
    connectionEncrypters: [noise()],
    ...options,
    streamMuxers: streamMuxers ?? [],
  })
  t.after(() => node.stop())
  return node
}
