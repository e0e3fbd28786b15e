import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { type Digest, digestOf } from '../../protocols/digest.ts'
import type { Candidate, Discovery } from '../../src/discovery/discovery.ts'

export interface DiscoveryNode {
  readonly peerId: string
  readonly discovery: Discovery
}

/** Nodes of one zone that can reach each other. */
export interface DiscoveryRig {
  readonly nodes: readonly [DiscoveryNode, DiscoveryNode, DiscoveryNode]
  /** Lets pass what the implementation needs until what was announced or withdrawn is known. */
  spread(): Promise<void>
  /** Whether members of the zone are known. */
  readonly zone: boolean
}

/** What every Discovery must do. The rig is closed by whoever opens it. */
export function discoveryConformance(name: string, open: (t: TestContext) => Promise<DiscoveryRig>): void {
  const x = digestOf(Buffer.from('x'))
  const y = digestOf(Buffer.from('y'))

  describe(`${name}: discovery`, () => {
    it('finds every holder of a blob, and of that blob only', async (t) => {
      const { nodes, spread } = await open(t)
      const [a, b, c] = nodes
      a.discovery.announce(x)
      b.discovery.announce(x)
      b.discovery.announce(y)
      await spread()
      assert.deepEqual(await holders(c, x), [a.peerId, b.peerId].sort())
      assert.deepEqual(await holders(c, y), [b.peerId])
    })

    it('gives addresses to dial, never this node, and each peer once for each source', async (t) => {
      const { nodes, spread } = await open(t)
      for (const { discovery } of nodes) {
        discovery.announce(x)
        discovery.announce(x)
      }
      await spread()
      for (const { peerId, discovery } of nodes) {
        const found = await collect(discovery, x)
        assert.ok(found.length >= 2)
        assert.ok(found.every(({ peer }) => peer.id !== peerId && peer.addresses.length > 0))
        const keys = found.map(({ peer, source }) => `${source} ${peer.id}`)
        assert.equal(new Set(keys).size, keys.length)
      }
    })

    it('names no holder of what nobody holds, and ends', async (t) => {
      const { nodes, spread } = await open(t)
      await spread()
      assert.deepEqual(await holders(nodes[0], x), [])
    })

    it('finds no longer who withdrew', async (t) => {
      const { nodes, spread } = await open(t)
      const [a, b, c] = nodes
      for (const { discovery } of [a, b]) discovery.announce(x)
      await spread()
      a.discovery.withdraw(x)
      await spread()
      assert.deepEqual(await holders(c, x), [b.peerId])
    })

    it('does not offer a forgotten peer for that blob, and still does for others and to others', async (t) => {
      const { nodes, spread } = await open(t)
      const [a, b, c] = nodes
      for (const digest of [x, y]) a.discovery.announce(digest)
      await spread()
      c.discovery.forget(x, a.peerId)
      assert.ok(!(await collect(c.discovery, x)).some(({ peer }) => peer.id === a.peerId))
      assert.deepEqual(await holders(c, y), [a.peerId])
      assert.deepEqual(await holders(b, x), [a.peerId])
    })

    it('knows the members of the zone, without itself', async (t) => {
      const { nodes, spread, zone } = await open(t)
      await spread()
      for (const { peerId, discovery } of nodes) {
        const others = nodes.map((node) => node.peerId).filter((id) => id !== peerId)
        const members = discovery.members().map(({ peer }) => peer.id)
        assert.deepEqual(members.sort(), zone ? others.sort() : [])
        const offered = (await collect(discovery, x)).filter(({ reason }) => reason === 'member')
        assert.deepEqual(offered.map(({ peer }) => peer.id).sort(), members)
      }
    })

    it('refuses to begin with a signal that is aborted, with its reason', async (t) => {
      const { nodes } = await open(t)
      const reason = new Error('enough')
      await assert.rejects(collect(nodes[0].discovery, x, AbortSignal.abort(reason)), reason)
    })

    it('does nothing after it was closed, and nothing fails', async (t) => {
      const { nodes, spread } = await open(t)
      const [a, b] = nodes
      await a.discovery[Symbol.asyncDispose]()
      a.discovery.announce(x)
      a.discovery.withdraw(y)
      await spread()
      assert.deepEqual(await holders(b, x), [])
      assert.deepEqual(await collect(a.discovery, x), [])
    })
  })
}

async function collect(discovery: Discovery, digest: Digest, signal = new AbortController().signal): Promise<Candidate[]> {
  const found: Candidate[] = []
  for await (const candidate of discovery.find(digest, { signal })) found.push(candidate)
  return found
}

async function holders({ discovery }: DiscoveryNode, digest: Digest): Promise<string[]> {
  const found = await collect(discovery, digest)
  return [...new Set(found.filter(({ reason }) => reason === 'holder').map(({ peer }) => peer.id))].sort()
}
