import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../protocols/digest.ts'
import { firstInOrder, firstTwo, rendezvousOrder } from '../../src/rendezvous/order.ts'
import { runsOf } from '../../src/rendezvous/ranges.ts'
import { Roster } from '../../src/rendezvous/roster.ts'
import { seeded } from '../discovery/virtual-clock.ts'

const digest = digestOf(Buffer.from('x'))
const ids = fc.uniqueArray(fc.stringMatching(/^[a-z]{1,6}$/), { minLength: 1, maxLength: 40 })

test('the order does not depend on how the zone is listed, and its first few are found without sorting it', () => {
  fc.assert(
    fc.property(ids, fc.integer({ min: 1, max: 5 }), (peers, count) => {
      const order = rendezvousOrder(digest, peers)
      assert.deepEqual(rendezvousOrder(digest, [...peers].reverse()), order)
      assert.deepEqual(firstInOrder(digest, [...peers, ...peers], count), order.slice(0, count))
    }),
  )
})

test('who leaves moves nobody else', () => {
  fc.assert(
    fc.property(ids, fc.nat(), (peers, at) => {
      const gone = peers[at % peers.length]
      const order = rendezvousOrder(digest, peers)
      assert.deepEqual(
        rendezvousOrder(
          digest,
          peers.filter((id) => id !== gone),
        ),
        order.filter((id) => id !== gone),
      )
    }),
  )
})

test('blobs are spread evenly over a zone', () => {
  const peers = Array.from({ length: 20 }, (_, i) => `peer ${i}`)
  const counts = new Map<string, number>()
  for (let i = 0; i < 2_000; i++) {
    const [first] = firstTwo(digestOf(Buffer.from(`${i}`)), peers) as [string]
    counts.set(first, (counts.get(first) ?? 0) + 1)
  }
  assert.equal(counts.size, 20)
  for (const [peer, count] of counts) assert.ok(count > 60 && count < 150, `${peer}: ${count}`)
})

test('indices are put into runs in the order in which they are wanted', () => {
  assert.deepEqual(runsOf([7, 8, 9, 0, 1, 4], 10), [
    { first: 7, last: 9 },
    { first: 0, last: 1 },
    { first: 4, last: 4 },
  ])
  assert.deepEqual(runsOf([0, 2, 4, 6], 2), [
    { first: 0, last: 0 },
    { first: 2, last: 2 },
  ])
  assert.deepEqual(runsOf([], 4), [])
})

test('in a large swarm nobody is told of more than some, holders and the newest are among them, and all are connected', () => {
  const random = seeded(3)
  const roster = new Roster()
  const links = new Map<string, Set<string>>()
  const link = (a: string, b: string) => {
    links.set(a, (links.get(a) ?? new Set()).add(b))
    links.set(b, (links.get(b) ?? new Set()).add(a))
  }
  const told = new Map<string, number>()
  const tell = (id: string, others: readonly string[]) => {
    told.set(id, (told.get(id) ?? 0) + others.length)
    for (const other of others) link(id, other)
  }
  for (let i = 0; i < 500; i++) {
    const others = roster.introduce(`m${i}`, new Set(['m0']), random)
    tell(`m${i}`, others)
    if (i > 0) assert.ok(others.includes('m0'))
    if (i > 100) assert.ok(others.includes(`m${i - 1}`))
    if (i % 50 === 0) for (const [id, news] of roster.spread(random)) tell(id, news)
  }
  assert.ok([...told.values()].every((count) => count <= 32))
  const reached = new Set(['m0'])
  for (const id of reached) for (const other of links.get(id) ?? []) reached.add(other)
  assert.equal(reached.size, 500)
})
