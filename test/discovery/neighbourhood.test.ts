import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ShoalError } from '../../protocols/error.ts'
import { chooseNeighbours, Neighbourhood } from '../../src/discovery/neighbourhood.ts'
import type { PeerRef } from '../../src/net/host.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { seeded, VirtualClock } from './virtual-clock.ts'

function peers(count: number): PeerRef[] {
  return Array.from({ length: count }, (_, i) => ({ id: `p${i}`, addresses: [`/ip4/10.0.${i >> 8}.${i & 255}/tcp/7402`] }))
}

describe('whom to be connected to', () => {
  it('is everybody in a small zone and a bounded number in a large one', () => {
    assert.equal(chooseNeighbours(peers(32), 'salt').length, 32)
    assert.equal(chooseNeighbours(peers(33), 'salt').length, 16)
    assert.equal(chooseNeighbours(peers(2_000), 'salt').length, 16)
  })

  it('is the same number where all are behind one address, and a few of those where others are not', () => {
    const one = Array.from({ length: 300 }, (_, i) => ({ id: `x${i}`, addresses: [`/ip4/192.0.2.1/tcp/${i}`] }))
    assert.equal(chooseNeighbours(one, 'salt').length, 16)
    const mixed = chooseNeighbours([...one, ...peers(30)], 'salt')
    assert.equal(mixed.length, 16)
    assert.equal(mixed.filter(({ id }) => id.startsWith('x')).length, 4)
  })

  it('changes little when members come and go, and differs from node to node', () => {
    const ids = (members: PeerRef[], salt: string) => chooseNeighbours(members, salt).map(({ id }) => id)
    const before = ids(peers(1_000), 'salt')
    const after = ids(peers(1_050).slice(50), 'salt')
    assert.ok(before.filter((id) => after.includes(id)).length >= 12)
    assert.ok(ids(peers(1_000), 'other').filter((id) => before.includes(id)).length <= 4)
  })

  it('connects a large zone as one, a few hops wide', () => {
    const members = peers(1_000)
    const edges = new Map<string, Set<string>>(members.map(({ id }) => [id, new Set()]))
    const random = seeded(9)
    for (const { id } of members) {
      const others = members.filter((member) => member.id !== id)
      for (const other of chooseNeighbours(others, `${random()}`)) {
        edges.get(id)?.add(other.id)
        edges.get(other.id)?.add(id)
      }
    }
    let reached = new Set(['p0'])
    for (let hop = 0; hop < 4; hop++) reached = new Set([...reached].flatMap((id) => [id, ...(edges.get(id) ?? [])]))
    assert.equal(reached.size, 1_000)
    const most = Math.max(...[...edges.values()].map((of) => of.size))
    assert.ok(most < 50, `${most} connections at one node`)
  })
})

describe('a neighbourhood', () => {
  function open(self: string, members: PeerRef[], answer: (peer: PeerRef) => boolean) {
    const clock = new VirtualClock()
    const start = clock.now()
    const connected = new Set<string>()
    const dials: { readonly id: string; readonly atMs: number }[] = []
    const neighbourhood = new Neighbourhood({
      host: {
        peerId: self,
        isConnected: (id) => connected.has(id),
        onPeer: () => () => {},
        connect: async (peer) => {
          dials.push({ id: peer.id, atMs: clock.now() - start })
          if (!answer(peer)) throw new ShoalError('PEER_UNREACHABLE', 'no')
          connected.add(peer.id)
        },
      },
      members: () => members,
      clock,
      random: seeded(3),
      log: SILENT,
    })
    return { clock, connected, dials, neighbourhood }
  }

  it('dials the members it is not connected to, a few at a time', async () => {
    const { clock, connected, neighbourhood } = open('a', peers(20), () => true)
    neighbourhood.review()
    await clock.advance(1_000)
    assert.equal(connected.size, 20)
    await neighbourhood[Symbol.asyncDispose]()
    assert.equal(clock.pending, 0)
  })

  it('leaves the first dial to the other when that has the smaller id', async () => {
    const { clock, dials, neighbourhood } = open('z', peers(2), () => true)
    neighbourhood.review()
    await clock.advance(2_500)
    assert.deepEqual(dials, [])
    await clock.advance(2_500)
    assert.equal(dials.length, 2)
    await neighbourhood[Symbol.asyncDispose]()
  })

  it('tries an unreachable member again, ever more seldom', async () => {
    const { clock, dials, neighbourhood } = open('a', peers(1), () => false)
    neighbourhood.review()
    await clock.advance(60_000)
    const early = dials.length
    assert.ok(early >= 4 && early <= 7, `${early} dials in a minute`)
    await clock.advance(60 * 60_000)
    assert.ok(dials.length <= early + 20, `${dials.length} dials in an hour`)
    await neighbourhood[Symbol.asyncDispose]()
  })

  it('takes others in a large zone for those that are not reached time and again', async () => {
    const { clock, connected, dials, neighbourhood } = open('a', peers(200), ({ id }) => Number(id.slice(1)) % 2 === 0)
    neighbourhood.review()
    await clock.advance(10 * 60_000)
    assert.ok(connected.size >= 16, `${connected.size} connections`)
    const tries = Math.max(
      ...Map.groupBy(dials, ({ id }) => id)
        .values()
        .map(({ length }) => length),
    )
    assert.ok(tries <= 7, `one was dialled ${tries} times`)
    await neighbourhood[Symbol.asyncDispose]()
    assert.equal(clock.pending, 0)
  })

  it('goes on with the others while some are unreachable', async () => {
    const { clock, connected, neighbourhood } = open('a', peers(30), ({ id }) => Number(id.slice(1)) >= 10)
    neighbourhood.review()
    await clock.advance(3_000)
    assert.equal(connected.size, 20)
    await neighbourhood[Symbol.asyncDispose]()
  })
})
