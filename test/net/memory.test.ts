import assert from 'node:assert/strict'
import { it } from 'node:test'
import { CID } from 'multiformats/cid'
import { sha256 } from 'multiformats/hashes/sha2'
import { createMemoryNetwork } from '../../src/net/memory.ts'
import { collect, hostConformance, live, pattern, refer, serveOnce, withCode } from '../conformance/host.ts'
import { until } from '../helpers/until.ts'

hostConformance('memory', async () => {
  const network = createMemoryNetwork()
  return [network.host(), network.host()]
})

it('gives small chunks where a test asks for them', async () => {
  const network = createMemoryNetwork({ chunkBytes: 7 })
  const [a, b] = [network.host(), network.host()]
  const sizes: number[] = []
  const served = serveOnce(b, (channel) => channel.read((chunk) => void sizes.push(chunk.byteLength)))
  const channel = await a.open(refer(b), '/shoal-test/1', live())
  await channel.write([pattern(17)])
  await channel.close()
  await served
  assert.deepEqual(sizes, [7, 7, 3])
})

it('cuts a connection, and lets it be made again', async () => {
  const network = createMemoryNetwork()
  const [a, b] = [network.host({ id: 'a' }), network.host({ id: 'b' })]
  const events: string[] = []
  a.onPeer(({ type }) => events.push(type))
  await b.handle('/shoal-test/1', { maxInboundStreams: 1 }, (channel) => channel.read(() => {}))
  const channel = await a.open(refer(b), '/shoal-test/1', live())
  network.cut(a, b)
  await assert.rejects(collect(channel), withCode('PEER_GONE'))
  assert.ok(!a.isConnected(b.peerId) && !b.isConnected(a.peerId))
  await a.connect(refer(b), live())
  await until('all was told', () => events.length === 3)
  assert.deepEqual(events, ['connect', 'disconnect', 'connect'])
})

it('lets nothing pass between the sides of a partition until it heals', async () => {
  const network = createMemoryNetwork()
  const [a, b, c] = [network.host(), network.host(), network.host()]
  const heard: string[] = []
  for (const [name, host] of Object.entries({ b, c })) {
    host.topics?.subscribe(
      'news',
      () => 'accept',
      ({ data }) => heard.push(`${name}${data[0]}`),
    )
  }
  await a.connect(refer(c), live())
  network.partition([a, b], [c])
  assert.ok(!a.isConnected(c.peerId))
  await assert.rejects(a.connect(refer(c), live()), withCode('PEER_UNREACHABLE'))
  await a.connect(refer(b), live())
  await a.topics?.publish('news', Uint8Array.of(1))
  network.heal()
  await a.connect(refer(c), live())
  await a.topics?.publish('news', Uint8Array.of(2))
  await until('both heard', () => heard.length === 3)
  assert.deepEqual(heard, ['b1', 'b2', 'c2'])
})

it('keeps telling of a provider that is gone, as a DHT does', async () => {
  const network = createMemoryNetwork()
  const [a, b] = [network.host(), network.host()]
  const cid = CID.createV1(0x55, await sha256.digest(Buffer.from('kelp')))
  network.addProvider(cid.toString(), { id: 'ghost', addresses: [] })
  await b.routing?.provide(cid, live())
  await b[Symbol.asyncDispose]()
  const found: string[] = []
  for await (const { id } of a.routing?.find(cid, live()) ?? []) found.push(id)
  assert.deepEqual(found, ['ghost', b.peerId])
})
