import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { digestOf } from '../../protocols/digest.ts'
import { geometryOf } from '../../protocols/pieces.ts'
import { openRendezvous } from '../../src/rendezvous/open-rendezvous.ts'
import { SILENCE_MS } from '../../src/rendezvous/policy.ts'
import type { Grant, Membership, Rendezvous } from '../../src/rendezvous/rendezvous.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { seeded } from '../discovery/virtual-clock.ts'
import { AT_ONCE, ask, NEVER, range, settle, withZone, type Zone, type ZoneNode } from './rig.ts'

const MiB = 1024 * 1024
const SIZE = 256 * MiB
const digest = digestOf(Buffer.from('a layer'))
const ALL = range(0, geometryOf(SIZE).pieces - 1)

interface Crowd {
  readonly zone: Zone
  /** In the order in which they are the blob's rendezvous. */
  readonly nodes: readonly ZoneNode[]
  readonly members: readonly Membership[]
  /** What the member is granted, if anything; asks for all pieces unless told otherwise, or to open the origin. */
  ask(i: number, what?: readonly number[] | 'open'): Promise<Grant | undefined>
}

/** Nodes that have joined; with the size known, or not. */
async function crowd(count: number, size: number | undefined, run: (crowd: Crowd) => Promise<void>): Promise<void> {
  await withZone(count, async (zone) => {
    const nodes = zone.inOrder(digest)
    const members = nodes.map((node) => node.rendezvous.join(digest, size))
    await Promise.all(members.map((member) => member.introduced))
    await zone.clock.advance(50)
    await run({
      zone,
      nodes,
      members,
      ask: async (i, what = ALL) => {
        const opening = what === 'open'
        return (await ask(zone, members[i] as Membership, opening ? [] : what, opening ? undefined : SIZE)).grant
      },
    })
  })
}

const at = (nodes: readonly ZoneNode[], i: number) => nodes[i] as ZoneNode
const piecesOf = ({ first, last }: Grant) => range(first, last)

/** Each was granted something, and no two the same piece. */
function assertDisjoint(...grants: (Grant | undefined)[]): void {
  const seen = new Set<number>()
  for (const grant of grants) {
    assert.ok(grant !== undefined, 'nothing was granted')
    for (const index of piecesOf(grant)) {
      assert.ok(!seen.has(index), `piece ${index} was granted twice`)
      seen.add(index)
    }
  }
}

describe('the rendezvous dies', () => {
  it('between the question and its answer: the standby answers it, once', async () => {
    await crowd(5, SIZE, async ({ zone, nodes, members, ask }) => {
      const before = await ask(2)
      const asked = (members[3] as Membership).ask(ALL, SIZE, { signal: NEVER })
      await zone.kill(at(nodes, 0))
      let grant: Grant | undefined
      void asked.then((answer) => {
        grant = answer
      })
      await zone.clock.until('it is answered', () => grant !== undefined)
      assertDisjoint(before, grant, await ask(4))
    })
  })

  it('while one member opens the origin: nobody else opens it, and all learn the size from the standby', async () => {
    await crowd(5, undefined, async ({ zone, nodes, members, ask }) => {
      const opening = await ask(3, 'open')
      assert.equal(opening?.open, true)
      await settle()
      await zone.kill(at(nodes, 0))
      await settle()
      assert.equal(await ask(4, 'open'), undefined, 'a second one opens the origin')
      opening.sized(SIZE)
      await zone.clock.until('the size is known', () => (members[4] as Membership).size === SIZE)
      assertDisjoint(opening, await ask(4), await ask(2))
    })
  })

  it('just when the size has been learnt: it is not asked for again', async () => {
    await crowd(5, undefined, async ({ zone, nodes, members, ask }) => {
      const opening = await ask(3, 'open')
      opening?.sized(SIZE)
      await zone.kill(at(nodes, 0))
      await zone.clock.until('the size is known', () => (members[2] as Membership).size === SIZE)
      assertDisjoint(opening, await ask(2), await ask(4))
    })
  })

  it('with the end of a lease unsaid: the standby hears it, and grants what failed to another', async () => {
    await crowd(5, SIZE, async ({ zone, nodes, ask }) => {
      const failed = await ask(3)
      const pieces = piecesOf(failed as Grant)
      await settle()
      const dying = zone.kill(at(nodes, 0))
      failed?.end({ ok: false })
      await dying
      await settle()
      const again = await ask(4, pieces)
      assert.deepEqual(again && piecesOf(again), pieces)
    })
  })

  it('together with its standby: the two who follow learn from the members what is under way', async () => {
    await crowd(7, SIZE, async ({ zone, nodes, ask }) => {
      const held = [await ask(4), await ask(5)]
      await Promise.all([zone.kill(at(nodes, 0)), zone.kill(at(nodes, 1))])
      await settle()
      await zone.clock.advance(50)
      assertDisjoint(...held, await ask(6), await ask(3))
    })
  })

  it('and comes back knowing nothing: who has leases is not disturbed, and no piece of theirs is granted again', async () => {
    await crowd(5, SIZE, async ({ zone, nodes, ask }) => {
      const held = await ask(3)
      const dead = at(nodes, 0)
      await zone.kill(dead)
      await settle()
      const back = await restart(zone, dead)
      try {
        await zone.clock.advance(1_000)
        held?.alive()
        const next = await ask(4)
        held?.progress(held.first, SIZE)
        await zone.clock.advance(500)
        assertDisjoint(held, next, await ask(2))
      } finally {
        await back[Symbol.asyncDispose]()
      }
    })
  })

  it('after its standby had died: the third in order has taken its place in time', async () => {
    await crowd(6, SIZE, async ({ zone, nodes, ask }) => {
      const held = await ask(4)
      await zone.kill(at(nodes, 1))
      await zone.clock.advance(50)
      const more = await ask(5)
      await zone.clock.advance(50)
      await zone.kill(at(nodes, 0))
      await settle()
      assertDisjoint(held, more, await ask(3))
    })
  })
})

describe('the one who opens the origin', () => {
  it('dies: another opens it at once', async () => {
    await crowd(5, undefined, async ({ zone, nodes, members, ask }) => {
      assert.equal((await ask(3, 'open'))?.open, true)
      assert.equal(await ask(4, 'open'), undefined)
      let called = 0
      ;(members[4] as Membership).onChange(() => called++)
      await zone.kill(at(nodes, 3))
      await zone.clock.until('somebody is called', () => called > 0, 1_000)
      assert.equal((await ask(4, 'open'))?.open, true)
    })
  })

  it('hangs: another opens it after some seconds, and who comes back to life does no harm', async () => {
    await crowd(5, undefined, async ({ zone, ask }) => {
      const hung = await ask(3, 'open')
      assert.equal(await ask(4, 'open'), undefined)
      await zone.clock.advance(SILENCE_MS - 300)
      assert.equal(await ask(4, 'open'), undefined)
      await zone.clock.advance(900)
      const second = await ask(4, 'open')
      assert.equal(second?.open, true)
      second?.sized(SIZE)
      await settle()
      hung?.sized(SIZE)
      await settle()
      await zone.clock.advance(10)
      assertDisjoint(second, await ask(2))
    })
  })

  it('learns that the origin does not have it: the others are free to try theirs', async () => {
    await crowd(5, undefined, async ({ zone, ask }) => {
      const opening = await ask(3, 'open')
      assert.equal(await ask(4, 'open'), undefined)
      opening?.end({ ok: false })
      await settle()
      await zone.clock.advance(1)
      assert.equal((await ask(4, 'open'))?.open, true)
    })
  })
})

describe('views that disagree', () => {
  it('about who is first lead to each piece being granted once or, at worst, twice, and nobody waits', async () => {
    await withZone(6, async (zone) => {
      const order = zone.inOrder(digest)
      // each is blind to another one of the first three
      for (const [i, node] of order.entries()) node.view = order.filter((_, j) => j === i || j !== i % 3).map(({ ref }) => ref)
      const members = order.map((node) => node.rendezvous.join(digest, SIZE))
      await Promise.all(members.map((member) => member.introduced))
      await zone.clock.advance(50)
      const counts = new Map<number, number>()
      const missing = new Set(ALL.slice(0, 64))
      for (let i = 0; missing.size > 0; i++) {
        assert.ok(i < 500, `${missing.size} pieces are granted to nobody`)
        const { grant } = await ask(zone, members[i % 6] as Membership, [...missing], SIZE)
        if (grant === undefined) await zone.clock.advance(100)
        else {
          for (const index of piecesOf(grant)) {
            counts.set(index, (counts.get(index) ?? 0) + 1)
            missing.delete(index)
            grant.progress(index, SIZE)
          }
          grant.end({ ok: true })
        }
        await settle()
      }
      assert.ok([...counts.values()].every((count) => count <= 2))
    })
  })

  it('heal: who was alone in its view is introduced to the others as soon as it sees them', async () => {
    await withZone(4, async (zone) => {
      const order = zone.inOrder(digest)
      const hermit = at(order, 3)
      hermit.view = [hermit.ref]
      const members = order.slice(0, 3).map((node) => node.rendezvous.join(digest, SIZE))
      const first = hermit.rendezvous.join(digest, SIZE)
      await Promise.all([...members, first].map((member) => member.introduced))
      await first[Symbol.asyncDispose]()
      hermit.view = order.map(({ ref }) => ref)
      await zone.clock.advance(300)
      const again = hermit.rendezvous.join(digest, SIZE)
      const met: string[] = []
      again.onMember(({ id }) => met.push(id))
      await zone.clock.until('it has met them', () => met.length >= 3)
      assert.deepEqual(
        met.sort(),
        order
          .slice(0, 3)
          .map(({ ref }) => ref.id)
          .sort(),
      )
    })
  })
})

/** A node that has died starts again, with its old identity and an empty memory. */
async function restart(zone: Zone, dead: ZoneNode): Promise<AsyncDisposable> {
  const host = zone.network.host({ id: `zone 1 ${zone.nodes.indexOf(dead)}` })
  assert.equal(host.peerId, dead.ref.id)
  const members = () => zone.nodes.map(({ ref }) => ref).filter(({ id }) => id !== host.peerId)
  const rendezvous: Rendezvous = await openRendezvous({
    host,
    members,
    log: SILENT,
    bounds: AT_ONCE,
    clock: zone.clock,
    random: seeded(99),
  })
  for (const node of zone.nodes) {
    const ref = { id: host.peerId, addresses: host.addresses() }
    node.view = node.view.map((peer) => (peer.id === ref.id ? ref : peer))
  }
  return {
    async [Symbol.asyncDispose]() {
      await rendezvous[Symbol.asyncDispose]()
      await host[Symbol.asyncDispose]()
    },
  }
}
