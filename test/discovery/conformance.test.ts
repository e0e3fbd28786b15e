import type { TestContext } from 'node:test'
import { parseZone } from '../../protocols/zone.ts'
import { createMemoryDiscovery, createSharedDiscovery } from '../../src/discovery/memory.ts'
import { type DiscoveryRig, discoveryConformance } from '../conformance/discovery.ts'
import { connect, Meadow } from './meadow.ts'

async function onMemoryNetwork(t: TestContext, on: { topics: boolean; routing: boolean }): Promise<DiscoveryRig> {
  const meadow = new Meadow(t)
  const nodes = [await meadow.join(on), await meadow.join(on), await meadow.join(on)] as const
  for (const { host } of nodes.slice(1)) await connect(host, nodes[0].host)
  const [a, b, c] = nodes.map(({ host, discovery }) => ({ peerId: host.peerId, discovery }))
  return {
    nodes: [a, b, c] as DiscoveryRig['nodes'],
    spread: () => meadow.clock.advance(8_000),
    zone: on.topics,
  }
}

discoveryConformance('gossip alone', (t) => onMemoryNetwork(t, { topics: true, routing: false }))
discoveryConformance('the DHT alone', (t) => onMemoryNetwork(t, { topics: false, routing: true }))
discoveryConformance('gossip and the DHT', (t) => onMemoryNetwork(t, { topics: true, routing: true }))

discoveryConformance('in memory', async (t) => {
  const shared = createSharedDiscovery()
  const [a, b, c] = ['a', 'b', 'c'].map((id) => {
    const peer = { id, addresses: [`/memory/${id}`] }
    const discovery = createMemoryDiscovery(shared, { peer, label: parseZone('eu/a') })
    t.after(() => discovery[Symbol.asyncDispose]())
    return { peerId: id, discovery }
  })
  return { nodes: [a, b, c] as DiscoveryRig['nodes'], spread: async () => {}, zone: true }
})
