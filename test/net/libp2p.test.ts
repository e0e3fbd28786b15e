import assert from 'node:assert/strict'
import { join } from 'node:path'
import { it, type TestContext } from 'node:test'
import type { Host } from '../../src/net/host.ts'
import { createIdentity } from '../../src/net/identity.ts'
import { live, refer, withCode } from '../conformance/host.ts'
import { tmp } from '../helpers/tmp.ts'
import { until } from '../helpers/until.ts'
import { LOOPBACK, openTestHost } from './test-host.ts'

it('dials its bootstrap peers, and dials them again after they restart', { timeout: 30_000 }, async (t) => {
  const identity = createIdentity()
  const first = await opened(t, { identity })
  const [address] = first.addresses() as [string]
  const host = await opened(t, { bootstrap: [address] })
  await until('the bootstrap peer is connected', () => host.isConnected(identity.peerId))
  await first[Symbol.asyncDispose]()
  await until('it is gone', () => !host.isConnected(identity.peerId))
  const second = await opened(t, { identity, listen: [address.split('/p2p/')[0] as string] })
  await until('it is connected again', () => host.isConnected(identity.peerId))
  await until('both know', () => second.isConnected(host.peerId))
})

it('starts although its bootstrap peer is away, or is itself', async (t) => {
  const away = createIdentity()
  const identity = createIdentity()
  const bootstrap = [`/ip4/127.0.0.1/tcp/1/p2p/${away.peerId}`, `/ip4/127.0.0.1/tcp/1/p2p/${identity.peerId}`]
  const host = await opened(t, { identity, bootstrap })
  assert.ok(!host.isConnected(away.peerId))
})

it('refuses a malformed address and says which', async (t) => {
  const { peerId } = createIdentity()
  for (const bad of [
    '127.0.0.1:7402',
    '/ip4/127.0.0.1/tcp/7402',
    `/ip4/300.0.0.1/tcp/1/p2p/${peerId}`,
    '/ip4/127.0.0.1/tcp/1/p2p/me',
  ]) {
    await assert.rejects(
      opened(t, { bootstrap: [bad] }),
      (error) => withCode('ADDRESS_INVALID')(error) && String(error).includes(bad),
    )
  }
  for (const bad of ['here', '/ip4/127.0.0.1/udp/1', '/ip4/127.0.0.1/tcp/1/ws', '/ip4/127.0.0.1/tcp/70000']) {
    await assert.rejects(
      opened(t, { listen: [bad] }),
      (error) => withCode('ADDRESS_INVALID')(error) && String(error).includes(bad),
    )
    await assert.rejects(
      opened(t, { announce: [bad] }),
      (error) => withCode('ADDRESS_INVALID')(error) && String(error).includes(bad),
    )
  }
})

it('says ADDRESS_INVALID when the port is taken', async (t) => {
  const host = await opened(t)
  const taken = host.addresses()[0]?.split('/p2p/')[0] as string
  await assert.rejects(opened(t, { listen: [taken] }), withCode('ADDRESS_INVALID'))
})

it('announces what it is told to', async (t) => {
  const host = await opened(t, { announce: ['/ip4/192.0.2.7/tcp/7402'] })
  assert.deepEqual(host.addresses(), [`/ip4/192.0.2.7/tcp/7402/p2p/${host.peerId}`])
})

it('remembers where its peers are over a restart', async (t) => {
  const datastorePath = join(await tmp(t), 'peers')
  const identity = createIdentity()
  const other = await opened(t)
  const first = await opened(t, { identity, datastorePath })
  await first.connect(refer(other), live())
  await first[Symbol.asyncDispose]()
  const second = await opened(t, { identity, datastorePath })
  await second.connect({ id: other.peerId, addresses: [] }, live())
  assert.ok(second.isConnected(other.peerId))
})

it('has neither topics nor routing when they are off', async (t) => {
  const host = await opened(t, { dht: false, gossip: false })
  assert.equal(host.topics, undefined)
  assert.equal(host.routing, undefined)
})

it('tells where a peer listens when it goes, also of one that dialled us', async (t) => {
  const [a, b] = [await opened(t), await opened(t)]
  const gone = Promise.withResolvers<readonly string[]>()
  a.onPeer(({ type, peer }) => type === 'disconnect' && gone.resolve(peer.addresses))
  await b.open(refer(a), '/ipfs/id/1.0.0', live())
  await until('a has learnt it', async () => {
    const found = a.peers()
    return found.length === 1
  })
  await b[Symbol.asyncDispose]()
  for (const address of await gone.promise) assert.match(address, /^\/ip4\/127\.0\.0\.1\/tcp\/\d+/)
})

async function opened(t: TestContext, options: Parameters<typeof openTestHost>[0] = {}): Promise<Host> {
  const host = await openTestHost({ listen: [LOOPBACK], ...options })
  t.after(() => host[Symbol.asyncDispose]())
  return host
}
