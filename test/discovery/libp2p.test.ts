/** Discovery over real hosts on loopback. */
import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { Digest } from '../../protocols/digest.ts'
import { parseZone } from '../../protocols/zone.ts'
import type { Discovery } from '../../src/discovery/discovery.ts'
import { openDiscovery } from '../../src/discovery/mesh.ts'
import { openVouching } from '../../src/discovery/vouch.ts'
import type { Host } from '../../src/net/host.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { until } from '../helpers/until.ts'
import { openTestHost } from '../net/test-host.ts'
import { blob, collect, each, holdersOf, live } from './meadow.ts'

interface Joined {
  readonly host: Host
  readonly discovery: Discovery
}

async function join(
  t: TestContext,
  on: { readonly dht: boolean; readonly gossip: boolean },
  bootstrap: readonly string[],
  held: readonly Digest[] = [],
): Promise<Joined> {
  const host = await openTestHost({ ...on, bootstrap })
  const discovery = await openDiscovery({
    host,
    label: parseZone('eu/a'),
    roles: [],
    version: '0.0.0-test',
    load: () => 0,
    heldDigests: () => each(held),
    log: SILENT,
  })
  t.after(async () => {
    await discovery[Symbol.asyncDispose]()
    await host[Symbol.asyncDispose]()
  })
  return { host, discovery }
}

/** A first node that holds nothing, and others that know only it. */
async function star(t: TestContext, on: { dht: boolean; gossip: boolean }, held: readonly (readonly Digest[])[]) {
  const hub = await join(t, on, [])
  const others = await Promise.all(held.map((digests) => join(t, on, hub.host.addresses(), digests)))
  return { hub, others: others as [Joined, Joined, ...Joined[]] }
}

const found = (node: Joined, digest: Digest, holder: Joined) =>
  until('the holder is found', async () => (await holdersOf(node.discovery, digest)).includes(holder.host.peerId), 15_000)

describe('with the DHT alone, on real hosts', () => {
  const on = { dht: true, gossip: false }

  it('a blob announced by one node is found by another through a bootstrap that holds nothing', async (t) => {
    const { others } = await star(t, on, [[], []])
    others[0].discovery.announce(blob('layer'))
    await found(others[1], blob('layer'), others[0])
    const [candidate] = await collect(others[1].discovery, blob('layer'))
    assert.equal(candidate?.source, 'dht')
    await others[1].host.connect(candidate.peer, live())
  })

  it('a node that starts announces what it holds', async (t) => {
    const { others } = await star(t, on, [[blob(1), blob(2)], []])
    await found(others[1], blob(1), others[0])
    await found(others[1], blob(2), others[0])
  })
})

describe('with gossip alone, on real hosts', () => {
  const on = { dht: false, gossip: true }

  it('nodes that know only a bootstrap get to know each other, connect, and hear who holds what', async (t) => {
    const { others } = await star(t, on, [[blob('held')], [], []])
    const [a, b, c] = others as unknown as [Joined, Joined, Joined]
    await found(b, blob('held'), a)
    b.discovery.announce(blob('new'))
    await found(c, blob('new'), b)
    await until('all are connected', () => [a, b, c].every(({ host }) => host.peers().length === 3), 15_000)
    b.discovery.withdraw(blob('new'))
    await until('it is known that it is gone', async () => (await holdersOf(c.discovery, blob('new'))).length === 0)
  })

  it('goes on when the bootstrap is gone', async (t) => {
    const { hub, others } = await star(t, on, [[], []])
    const [a, b] = others
    await until('they are connected', () => a.host.isConnected(b.host.peerId), 15_000)
    await hub.discovery[Symbol.asyncDispose]()
    await hub.host[Symbol.asyncDispose]()
    a.discovery.announce(blob('after'))
    await found(b, blob('after'), a)
  })
})

it('a tag is vouched for between real hosts', async (t) => {
  const [a, b] = [await openTestHost(), await openTestHost()]
  t.after(() => Promise.all([a[Symbol.asyncDispose](), b[Symbol.asyncDispose]()]))
  const answer = { known: true, digest: blob(1), mediaType: 'application/json', size: 3, ageMs: 40 } as const
  await using _served = await openVouching({ host: a, lookup: async () => answer, log: SILENT })
  await using asker = await openVouching({ host: b, lookup: async () => ({ known: false }), log: SILENT })
  const question = { registry: 'docker.io', repository: 'library/nginx', tag: 'latest', maxAgeMs: 0 }
  const told = await asker.ask(question, [{ id: a.peerId, addresses: a.addresses() }], live())
  assert.deepEqual(told, { answer, peerId: a.peerId })
})
