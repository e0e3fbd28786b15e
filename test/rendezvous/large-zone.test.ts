import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { digestOf } from '../../protocols/digest.ts'
import { geometryOf } from '../../protocols/pieces.ts'
import { answerMs, mayActAlone, namedMembers, registrationDelayMs } from '../../src/rendezvous/policy.ts'
import type { Grant } from '../../src/rendezvous/rendezvous.ts'
import { Roster } from '../../src/rendezvous/roster.ts'
import { seeded } from '../discovery/virtual-clock.ts'
import { ask, NEVER, range, withZone, type ZoneNode } from './rig.ts'

const SIZE = 64 * 1024 * 1024
const ALL = range(0, geometryOf(SIZE).pieces - 1)
const digest = digestOf(Buffer.from('a layer'))
const LARGE = 60

describe('in a large zone', () => {
  it('members register over a time that grows with it, in a small one at once', () => {
    const random = seeded(1)
    for (const zone of [0, 7, 40]) assert.equal(registrationDelayMs(zone, random), 0)
    for (const [zone, longest] of [
      [41, 205],
      [255, 1_275],
      [256, 1_280],
      [1_999, 2_499],
    ] as const) {
      const delays = Array.from({ length: 1_000 }, () => registrationDelayMs(zone, random))
      assert.ok(Math.max(...delays) <= longest && Math.max(...delays) > 0.8 * longest)
      assert.ok(Math.min(...delays) < longest / 50, 'somebody comes soon, however large it is')
    }
  })

  it('a crowd comes to its rendezvous little by little, but those who are connected with it at once', async () => {
    await withZone(LARGE, async (zone) => {
      const [first, ...others] = zone.inOrder(digest) as [ZoneNode, ...ZoneNode[]]
      const friends = others.slice(5, 8)
      for (const friend of friends) await friend.host.connect(first.ref, { signal: NEVER })
      const introduced = new Set<ZoneNode>()
      const members = zone.nodes.map((node) => {
        const member = node.rendezvous.join(digest, SIZE)
        void member.introduced.then(() => introduced.add(node))
        return member
      })
      await zone.clock.advance(0)
      assert.equal((await ask(zone, members[zone.nodes.indexOf(friends[0] as ZoneNode)] as never, ALL, SIZE)).grant?.first, 0)
      assert.ok(introduced.size < LARGE / 4, `${introduced.size} have come at once`)
      await zone.clock.advance(5 * LARGE)
      assert.equal(introduced.size, LARGE)
      for (const member of members) await member[Symbol.asyncDispose]()
    })
  })

  it('few act alone at first, and all in the end', () => {
    const random = seeded(2)
    const share = (zone: number, tries: number) =>
      Array.from({ length: 4_000 }, () => mayActAlone(zone, tries, random)).filter((may) => may).length / 4_000
    assert.equal(share(40, 0), 1)
    assert.ok(Math.abs(share(1_000, 0) - 0.04) < 0.02)
    assert.ok(Math.abs(share(1_000, 2) - 0.16) < 0.04)
    assert.equal(share(2_000, 6), 1)
  })

  it('some of those whom nobody answers act alone, and the others look again', async () => {
    await withZone(100, async (zone) => {
      const [first, standby, ...others] = zone.inOrder(digest) as [ZoneNode, ZoneNode, ...ZoneNode[]]
      zone.freeze(first)
      zone.freeze(standby)
      const grants: (Grant | undefined)[] = []
      const members = others.map((node) => node.rendezvous.join(digest, SIZE))
      for (const member of members) {
        void member.introduced.then(async () => grants.push(await member.ask(ALL, SIZE, { signal: NEVER })))
      }
      await zone.clock.advance(5 * 100 + answerMs(100))
      const alone = grants.filter((grant) => grant !== undefined).length
      assert.equal(grants.length, others.length)
      assert.ok(alone > 20 && alone < 60, `${alone} of 98`)
      for (const member of members) await member[Symbol.asyncDispose]()
    })
  })

  it('members of a swarm are told of few others, and yet all hang together', () => {
    assert.deepEqual([5, 32, 33, 2_000].map(namedMembers), [32, 32, 8, 8])
    const roster = new Roster()
    const random = seeded(3)
    const friends = new Map<string, Set<string>>()
    const meet = (one: string, others: readonly string[]) => {
      for (const other of others) {
        friends.get(one)?.add(other)
        friends.get(other)?.add(one)
      }
    }
    for (let i = 0; i < 1_000; i++) {
      friends.set(`m${i}`, new Set())
      meet(`m${i}`, roster.introduce(`m${i}`, new Set(['m0', 'm1', 'm2']), random))
      if (i % 10 === 0) for (const [id, news] of roster.spread(random)) meet(id, news)
    }
    const reached = new Set(['m0'])
    for (const one of reached) for (const other of friends.get(one) ?? []) reached.add(other)
    assert.equal(reached.size, 1_000)
    const degrees = [...friends.values()].map(({ size }) => size).sort((a, b) => a - b)
    assert.ok((degrees[0] as number) >= 8 && (degrees[500] as number) <= 24, `${degrees[0]} ${degrees[500]}`)
  })
})
