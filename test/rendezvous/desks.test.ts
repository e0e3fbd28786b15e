import assert from 'node:assert/strict'
import { describe, it, test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../protocols/digest.ts'
import { geometryOf } from '../../protocols/pieces.ts'
import { MAX_DESKS } from '../../protocols/rendezvous/limits.ts'
import { deskOf, desksIn, LEASES, nodesAtDesk } from '../../src/rendezvous/desks.ts'
import { firstTwo } from '../../src/rendezvous/order.ts'
import { answerMs, stillMs } from '../../src/rendezvous/policy.ts'
import type { Membership } from '../../src/rendezvous/rendezvous.ts'
import { ask, range, settle, strangers, withZone, type Zone, type ZoneNode } from './rig.ts'

const MiB = 1024 * 1024
/** The most that has leases of one piece. */
const SIZE = 63 * MiB
const ALL = range(0, geometryOf(SIZE).pieces - 1)
const digest = digestOf(Buffer.from('a layer'))
/** With those of the test a little more than one desk is enough for. */
const STRANGERS = 290

test('a blob has one desk in a zone of up to 256, and twice as many in one that is twice as large', () => {
  assert.deepEqual([1, 2, 256, 257, 512, 513, 1_024, 1_025, 2_001, 10_000].map(desksIn), [1, 1, 1, 2, 2, 4, 4, 8, 8, 8])
  for (let others = 0; others < 2_000; others++) assert.ok(nodesAtDesk(others) <= 256)
})

test('every node turns to one desk, about as many to each, and where there are half as many desks to the same or its double', () => {
  const counts = new Array(MAX_DESKS).fill(0)
  for (let i = 0; i < 4_000; i++) {
    const desk = deskOf(digest, `peer ${i}`, MAX_DESKS)
    counts[desk]++
    for (const fewer of [1, 2, 4]) assert.equal(deskOf(digest, `peer ${i}`, fewer), desk % fewer)
  }
  for (const count of counts) assert.ok(count > 400 && count < 600, `${counts}`)
})

test('who comes first at one desk says nothing about who does at another', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.stringMatching(/^[a-z]{1,6}$/), { minLength: 3, maxLength: 30 }), (peers) => {
      const seen = range(0, MAX_DESKS - 1).map((desk) => firstTwo(digest, peers, desk))
      for (const [desk, two] of seen.entries()) {
        const without = peers.filter((id) => id !== two[0])
        assert.equal(firstTwo(digest, without, desk)[0], two[1])
      }
    }),
  )
  const peers = range(0, 399).map((i) => `peer ${i}`)
  assert.ok(new Set(range(0, MAX_DESKS - 1).map((desk) => firstTwo(digest, peers, desk)[0])).size >= MAX_DESKS - 1)
})

/** A crowd in a zone of two desks, each node a member or not. */
interface Crowd {
  readonly zone: Zone
  /** Who turns to the desk that grants leases, and to the other. */
  readonly granted: readonly ZoneNode[]
  readonly introduced: readonly ZoneNode[]
  /** The first and second of the desk that only introduces. */
  readonly introducers: readonly ZoneNode[]
  join(node: ZoneNode): Promise<Membership>
}

async function crowd(run: (crowd: Crowd) => Promise<void>, seed = 1): Promise<void> {
  await withZone(
    48,
    async (zone) => {
      const others = strangers(digest, zone.nodes, STRANGERS)
      for (const node of zone.nodes) node.view = [...node.view, ...others]
      const members: Membership[] = []
      const turnTo = (desk: number) => zone.nodes.filter(({ ref }) => deskOf(digest, ref.id, 2) === desk)
      await run({
        zone,
        granted: turnTo(LEASES),
        introduced: turnTo(1),
        introducers: zone.inOrder(digest, 1).slice(0, 2),
        join: async (node) => {
          const member = node.rendezvous.join(digest, SIZE)
          members.push(member)
          let done = false
          void member.introduced.then(() => {
            done = true
          })
          while (!done) await zone.clock.advance(20)
          return member
        },
      })
      for (const member of members) await member[Symbol.asyncDispose]()
    },
    seed,
  )
}

const met = (member: Membership) => {
  const ids: string[] = []
  member.onMember((peer) => ids.push(peer.id))()
  return ids
}
const longestStillMs = stillMs(STRANGERS + 48, () => 1)

/** Asks each second until something is granted, or for so long. */
async function askFor(zone: Zone, member: Membership, ms: number, orphans: readonly number[] = ALL) {
  for (let passed = 0; passed <= ms; passed += 1_000) {
    const { grant } = await ask(zone, member, orphans, SIZE)
    if (grant !== undefined) return grant
    await zone.clock.advance(1_000)
  }
  return undefined
}

describe('in a zone of two desks', () => {
  it('the first members of a desk go on to where all meet, the others stay; and all hang together', async () => {
    await crowd(async ({ zone, granted, introduced, join }) => {
      const [first, standby] = zone.inOrder(digest) as [ZoneNode, ZoneNode]
      const before = introduced.filter(({ host }) => host.isConnected(first.ref.id)).length
      assert.equal(before, 0)
      const friends = new Map<string, string[]>()
      for (const node of [...introduced, ...granted]) friends.set(node.ref.id, met(await join(node)))
      await zone.clock.advance(100)
      const there = introduced.filter(
        (node) =>
          node !== first && node !== standby && node.host.isConnected(first.ref.id) && node.host.isConnected(standby.ref.id),
      )
      assert.ok(there.length <= 10 && there.length >= 6, `${there.length} of ${introduced.length}`)
      const links = new Map<string, Set<string>>(zone.nodes.map(({ ref }) => [ref.id, new Set()]))
      for (const [one, others] of friends)
        for (const other of others) {
          links.get(one)?.add(other)
          links.get(other)?.add(one)
        }
      const reached = new Set([first.ref.id])
      for (const one of reached) for (const other of links.get(one) ?? []) reached.add(other)
      assert.equal(reached.size, zone.nodes.length)
    })
  })

  it('leases are granted at one desk: who is only introduced asks there when nobody brings what it misses, and no piece is in two', async () => {
    await crowd(async ({ zone, granted, introduced, introducers, join }) => {
      const late = introduced.find(
        (node) => !introducers.includes(node) && !zone.inOrder(digest).slice(0, 2).includes(node),
      ) as ZoneNode
      for (const node of introduced) if (node !== late) await join(node)
      const here = await join(granted[0] as ZoneNode)
      const there = await join(late)
      assert.ok(met(there).length >= 8)
      const { grant: one } = await ask(zone, here, ALL, SIZE)
      assert.equal(one?.first, 0)
      assert.equal((await ask(zone, there, ALL, SIZE)).grant, undefined)
      await zone.clock.advance(3_000)
      one?.progress(0, SIZE)
      // fewer are missing: somebody brings them
      assert.equal((await ask(zone, there, ALL.slice(1), SIZE)).grant, undefined)
      await zone.clock.advance(3_000)
      assert.equal((await ask(zone, there, ALL.slice(1), SIZE)).grant, undefined)
      const two = await askFor(zone, there, longestStillMs, ALL.slice(1))
      assert.equal(two?.first, 1)
      const { grant: three } = await ask(zone, here, ALL.slice(1), SIZE)
      assert.ok(three === undefined || three.first > 1)
    })
  })

  it('where nobody turns to the desk that grants leases, the first members of the other import at once', async () => {
    await crowd(async ({ zone, introduced, join }) => {
      const members: Membership[] = []
      for (const node of introduced.slice(0, 8)) members.push(await join(node))
      const grants: number[] = []
      for (const member of members) grants.push((await ask(zone, member, ALL, SIZE)).grant?.first ?? -1)
      assert.deepEqual(grants, range(0, 7))
    })
  })

  it('an introducer that dies is followed by the next; without any, members go where leases are granted', async () => {
    await crowd(async ({ zone, introduced, introducers, join }) => {
      const [first, second] = introducers as [ZoneNode, ZoneNode]
      const living = introduced.filter((node) => node !== first && node !== second)
      const early = await join(living[0] as ZoneNode)
      await zone.kill(first)
      await zone.clock.advance(1_000)
      const later = await join(living[1] as ZoneNode)
      await zone.clock.advance(100)
      assert.ok(met(later).includes((living[0] as ZoneNode).ref.id))
      assert.ok(met(early).includes((living[1] as ZoneNode).ref.id))
      zone.freeze(second)
      const alone = await join(living[2] as ZoneNode)
      await zone.clock.advance(answerMs(nodesAtDesk(STRANGERS + 47)) + 100)
      assert.notEqual((await ask(zone, alone, ALL, SIZE)).grant, undefined)
    })
  })

  it('both of those who grant leases die: their next go on, whoever of the other desk comes asks there too, and no piece is granted twice', async () => {
    await crowd(async ({ zone, granted, introduced, join }) => {
      const [first, second] = zone.inOrder(digest) as [ZoneNode, ZoneNode]
      const living = (node: ZoneNode) => node !== first && node !== second
      const here = await join(granted.filter(living)[0] as ZoneNode)
      const there = await join(introduced.filter(living)[0] as ZoneNode)
      const { grant: one } = await ask(zone, here, ALL, SIZE)
      await zone.kill(first)
      await zone.kill(second)
      await zone.clock.advance(1_000)
      const { grant: two } = await ask(zone, there, ALL, SIZE)
      assert.deepEqual([one?.first, two?.first], [0, 1])
    })
  })

  it('a node that is first at both desks is spoken to once', async () => {
    await crowd(async ({ zone, introduced, join }) => {
      const [first] = zone.inOrder(digest) as [ZoneNode]
      // only the one: it is the first of whatever desk
      const [a, b] = introduced.filter((node) => node !== first) as [ZoneNode, ZoneNode]
      const others = strangers(digest, zone.nodes, STRANGERS)
      for (const node of [a, b, first]) node.view = [a.ref, b.ref, first.ref, ...others]
      const one = await join(a)
      const two = await join(b)
      await zone.clock.advance(100)
      assert.deepEqual(met(two), [a.ref.id])
      assert.deepEqual(met(one), [b.ref.id])
      const { grant } = await ask(zone, one, ALL, SIZE)
      const { grant: other } = await ask(zone, two, ALL, SIZE)
      assert.deepEqual([grant?.first, other?.first], [0, 1])
    })
  })
})

for (let seed = 1; seed <= 4; seed++) {
  test(`members who see a zone of one desk, and of two, and of eight import each piece once (${seed})`, async () => {
    await crowd(async ({ zone, join }) => {
      const few = zone.nodes.map(({ ref }) => ref)
      const many = [...few, ...strangers(digest, zone.nodes, 1_200)]
      for (const [i, node] of zone.nodes.entries()) if (i % 3 > 0) node.view = i % 3 === 1 ? few : many
      const members = []
      for (const node of zone.nodes.slice(seed, seed + 30)) members.push(await join(node))
      const granted = new Set<number>()
      for (const member of members) {
        const { grant } = await ask(zone, member, ALL, SIZE)
        if (grant === undefined) continue
        for (let index = grant.first; index <= grant.last; index++) {
          assert.ok(!granted.has(index), `piece ${index} is in two leases`)
          granted.add(index)
        }
        grant.sized(SIZE)
      }
      assert.ok(granted.size >= 10, `${granted.size}`)
      await settle()
    }, seed)
  })
}
