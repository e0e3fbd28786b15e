import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../protocols/digest.ts'
import { BlobLeases, type Decision } from '../../src/rendezvous/blob-leases.ts'
import type { Lease } from '../../src/rendezvous/lease.ts'
import { LeaseTable } from '../../src/rendezvous/lease-table.ts'
import type { Run } from '../../src/rendezvous/ranges.ts'
import { seeded } from '../discovery/virtual-clock.ts'

const MiB = 1024 * 1024
const SIZE = 8 * MiB
const PIECES = 32
const ALL: readonly Run[] = [{ first: 0, last: PIECES - 1 }]

function blob(): BlobLeases {
  let id = 0
  return new BlobLeases({ random: seeded(7), nextId: () => ++id })
}

function granted(decision: Decision): Lease {
  assert.ok('lease' in decision, `told to wait ${'retryMs' in decision && decision.retryMs} ms`)
  return decision.lease
}

function waits(decision: Decision): number {
  assert.ok('retryMs' in decision, 'a lease was granted')
  return decision.retryMs
}

const ask = (table: BlobLeases, member: string, now: number, runs = ALL, size = SIZE) => table.ask({ member, size, runs }, now)

test('ranges are spread over those who ask, a short lease each, the lowest pieces first', () => {
  const table = blob()
  const runs = ['a', 'b', 'c'].map((member) => granted(ask(table, member, 0)))
  assert.deepEqual(
    runs.map(({ first, last }) => [first, last]),
    [
      [0, 3],
      [4, 7],
      [8, 11],
    ],
  )
})

test('an importer gets its next lease when the last piece of the first is on its way, and no third', () => {
  const table = blob()
  const first = granted(ask(table, 'a', 0))
  waits(ask(table, 'a', 1))
  for (const index of [0, 1, 2]) table.progress('a', first.id, index, 10)
  const second = granted(ask(table, 'a', 11, [{ first: 3, last: PIECES - 1 }]))
  assert.deepEqual([second.first, second.last], [4, 7])
  waits(ask(table, 'a', 12, [{ first: 8, last: PIECES - 1 }]))
  table.progress('a', first.id, 3, 13)
  waits(ask(table, 'a', 14, [{ first: 8, last: PIECES - 1 }]))
})

test('an origin that says nothing for two seconds loses the lease to another', () => {
  const table = blob()
  granted(ask(table, 'a', 0))
  waits(ask(table, 'b', 1_000, [{ first: 0, last: 3 }]))
  assert.equal(table.expire(1_999), false)
  assert.equal(table.expire(2_000), true)
  const again = granted(ask(table, 'b', 2_001))
  assert.equal(again.first, 0)
})

test('a slow importer keeps its lease for as long as bytes come, but not for ever', () => {
  const table = blob()
  const lease = granted(ask(table, 'a', 0))
  let now = 0
  for (; now < 11_000; now += 500) {
    table.alive('a', lease.id, now)
    assert.equal(table.expire(now + 1), false)
  }
  table.alive('a', lease.id, 12_500)
  assert.equal(table.expire(12_501), true)
  table.alive('a', lease.id, 12_502)
  assert.equal(granted(ask(table, 'b', 12_503)).first, 0)
})

test('an importer that comes back to life keeps what nobody else has taken', () => {
  const table = blob()
  const lease = granted(ask(table, 'a', 0))
  table.expire(2_000)
  granted(ask(table, 'b', 2_001, [{ first: 0, last: 1 }]))
  table.progress('a', lease.id, 2, 2_100)
  waits(ask(table, 'c', 2_101, [{ first: 0, last: 3 }]))
  assert.equal(granted(ask(table, 'c', 3_200, [{ first: 0, last: 2 }])).first, 2)
})

test('after a failure the pieces are free at once for others, and the one who failed waits', () => {
  const table = blob()
  const lease = granted(ask(table, 'a', 0))
  table.end('a', lease.id, { done: false, retryAfterMs: 0 }, 10)
  assert.equal(waits(ask(table, 'a', 11)), 249)
  assert.equal(granted(ask(table, 'b', 11)).first, 0)
  granted(ask(table, 'a', 260))
})

test('when the origin asks to be left alone everybody leaves it alone, once for each who says so', () => {
  const table = blob()
  const lease = granted(ask(table, 'a', 0))
  table.end('a', lease.id, { done: false, retryAfterMs: 5_000 }, 0)
  assert.equal(waits(ask(table, 'b', 1_000)), 4_000)
  const second = granted(ask(table, 'a', 5_000))
  table.end('a', second.id, { done: false, retryAfterMs: 5_000 }, 5_000)
  waits(ask(table, 'a', 5_001))
  granted(ask(table, 'b', 5_001))
})

test('what an importer brought is granted again when it is gone, or when others do not see it after a while', () => {
  const table = blob()
  const lease = granted(ask(table, 'a', 0))
  for (const index of [0, 1, 2, 3]) table.progress('a', lease.id, index, 100)
  waits(ask(table, 'b', 1_099, [{ first: 0, last: 3 }]))
  const again = granted(ask(table, 'b', 1_100, [{ first: 0, last: 0 }]))
  assert.equal(again.first, 0)
  waits(ask(table, 'c', 200, [{ first: 1, last: 3 }]))
  table.leave('a')
  assert.equal(granted(ask(table, 'c', 201, [{ first: 1, last: 3 }])).first, 1)
})

test('only one opens the origin while nobody knows the size, and another when it shows no life', () => {
  const table = blob()
  const open = granted(ask(table, 'a', 0, [], 0))
  assert.equal(open.size, 0)
  waits(ask(table, 'b', 1, [], 0))
  table.expire(2_000)
  const second = granted(ask(table, 'b', 2_000, [], 0))
  assert.equal(table.opened('b', second.id, SIZE, false, 2_100), true)
  assert.equal(table.size, SIZE)
  assert.deepEqual([second.first, second.last, second.size], [0, 3, SIZE])
  assert.equal(granted(ask(table, 'c', 2_101, [], 0)).first, 4)
})

test('an origin that ignores ranges is read by one, and by another from where that one failed', () => {
  const table = blob()
  const open = granted(ask(table, 'a', 0, [], 0))
  table.opened('a', open.id, SIZE, true, 10)
  waits(ask(table, 'b', 11))
  for (let index = 0; index < 10; index++) table.progress('a', open.id, index, 20 + index)
  waits(ask(table, 'b', 100, [{ first: 10, last: PIECES - 1 }]))
  assert.equal(table.end('a', open.id, { done: false, retryAfterMs: 0 }, 200), true)
  const next = granted(ask(table, 'b', 201, [{ first: 10, last: PIECES - 1 }]))
  assert.deepEqual([next.first, next.last], [10, PIECES - 1])
  waits(ask(table, 'c', 202))
})

test('a lease that another table granted is noted, and its pieces are not granted here', () => {
  const table = blob()
  assert.equal(table.hold('a', SIZE, { first: 4, last: 7 }, 0)?.granted, 4)
  assert.equal(table.hold('b', SIZE, { first: 4, last: 7 }, 0), undefined)
  const lease = granted(ask(table, 'c', 1, [{ first: 2, last: 9 }]))
  assert.deepEqual([lease.first, lease.last], [2, 3])
})

test('a member that lies about the size costs nobody else anything', () => {
  const table = blob()
  table.join('liar', 0)
  const open = granted(table.ask({ member: 'liar', size: 0, runs: [] }, 0))
  table.opened('liar', open.id, 3 * SIZE, false, 1)
  for (const honest of ['a', 'b']) table.join(honest, SIZE)
  assert.equal(table.size, SIZE)
  assert.equal(granted(ask(table, 'a', 2)).first, 0)
})

test('sizes that fewer members give make room for those that more give', () => {
  const table = blob()
  for (let i = 1; i <= 4; i++) granted(ask(table, `liar ${i}`, 0, [{ first: 0, last: 0 }], SIZE + i))
  waits(ask(table, 'a', 1))
  table.join('b', SIZE)
  granted(ask(table, 'a', 2))
})

const command = fc.record({
  what: fc.constantFrom(
    'join',
    'ask',
    'open',
    'progress',
    'progress',
    'progress',
    'alive',
    'done',
    'fail',
    'limited',
    'leave',
    'hold',
    'streams',
    'complete',
    'later',
  ),
  who: fc.integer({ min: 0, max: 5 }),
  number: fc.nat(PIECES - 1),
})

/** Runs a schedule against a table, checking after each step that no piece is in two live leases. */
function play(table: BlobLeases, commands: readonly { what: string; who: number; number: number }[]): number {
  let now = 1_000
  const leases = new Map<number, Lease>()
  const held = new Set<number>()
  for (const { what, who, number } of commands) {
    const member = `m${who}`
    const own = [...leases.values()].filter((lease) => lease.member === member)
    const lease = own[number % Math.max(1, own.length)]
    now += number
    if (what === 'join') table.join(member, number % 2 === 0 ? SIZE : 0)
    if (what === 'later') now += number * 100
    if (what === 'ask') {
      const decision = ask(table, member, now, [{ first: number, last: PIECES - 1 }], number % 3 === 0 ? 0 : SIZE)
      if ('lease' in decision) leases.set(decision.lease.id, decision.lease)
    }
    if (what === 'hold') {
      const noted = table.hold(member, SIZE, { first: number, last: Math.min(PIECES - 1, number + 3) }, now)
      if (noted !== undefined) leases.set(noted.id, noted)
    }
    if (what === 'leave') table.leave(member)
    if (what === 'complete') table.complete(member)
    if (lease !== undefined) {
      if (what === 'open') table.opened(member, lease.id, SIZE, false, now)
      if (what === 'streams') table.opened(member, lease.id, SIZE, true, now)
      if (what === 'alive') table.alive(member, lease.id, now)
      if (what === 'progress') table.progress(member, lease.id, lease.first + (number % 4), now)
      if (what === 'done') table.end(member, lease.id, { done: true, retryAfterMs: 0 }, now)
      if (what === 'fail') table.end(member, lease.id, { done: false, retryAfterMs: 0 }, now)
      if (what === 'limited') table.end(member, lease.id, { done: false, retryAfterMs: 1_000 }, now)
    }
    table.expire(now)
    held.clear()
    let open = 0
    for (const { id, lapsed, size } of table.leases()) {
      if (!lapsed && size === 0) open++
      for (const index of table.piecesOf(id)) {
        assert.equal(lapsed, false, 'a lapsed lease has pieces')
        assert.equal(held.has(index), false, `piece ${index} is in two live leases`)
        held.add(index)
      }
    }
    assert.ok(open <= 1, 'two open the origin at once')
  }
  return now
}

test('whatever happens in whatever order, no piece is in two live leases', () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 120, size: 'max' }), (commands) => {
      play(blob(), commands)
    }),
    { numRuns: 400 },
  )
})

test('whatever has happened, every piece is granted in the end to somebody who goes on asking', () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 80, size: 'max' }), (commands) => {
      const table = blob()
      let now = play(table, commands)
      const missing = new Set(Array.from({ length: PIECES }, (_, i) => i))
      const end = now + 120_000
      while (missing.size > 0) {
        assert.ok(now < end, `${[...missing]} were not granted`)
        const runs = [...missing].map((index) => ({ first: index, last: index }))
        const decision = ask(table, 'steady', now, runs)
        now += 'retryMs' in decision ? Math.max(1, decision.retryMs) : 1
        table.expire(now)
        if (!('lease' in decision)) continue
        const { id, first, last } = decision.lease
        table.opened('steady', id, SIZE, false, now)
        for (let index = first; index <= last; index++) {
          table.progress('steady', id, index, now)
          missing.delete(index)
        }
        table.end('steady', id, { done: true, retryAfterMs: 0 }, now)
      }
    }),
    { numRuns: 200 },
  )
})

test('nothing is left of a blob when all have gone', () => {
  fc.assert(
    fc.property(fc.array(command, { maxLength: 60, size: 'max' }), (commands) => {
      const digest = digestOf(Buffer.from('x'))
      const table = new LeaseTable({
        random: seeded(1),
        bounds: { blobs: 4, membersPerBlob: 8, pieces: 1_000 },
        onDrop: () => assert.fail('nothing was too much'),
      })
      const one = table.use(digest, 'm0')
      assert.ok(one !== undefined)
      one.join('m0', 0)
      play(one, commands)
      for (let who = 0; who <= 5; who++) table.leave(digest, `m${who}`)
      assert.deepEqual([...one.leases()], [])
      assert.equal(one.members, 0)
      assert.equal(table.size, 0)
    }),
    { numRuns: 200 },
  )
})

test('blobs, members and pieces are bounded; what was not used for longest goes', () => {
  const dropped: string[] = []
  const table = new LeaseTable({
    random: seeded(1),
    bounds: { blobs: 3, membersPerBlob: 2, pieces: 2 * PIECES },
    onDrop: (key) => dropped.push(key),
  })
  const digests = Array.from({ length: 5 }, (_, i) => digestOf(Buffer.from(`${i}`)))
  for (const digest of digests) {
    const one = table.use(digest, 'a')
    one?.join('a', SIZE)
    one?.join('b', SIZE)
    assert.equal(table.use(digest, 'c'), undefined)
    assert.notEqual(table.use(digest, 'b'), undefined)
  }
  assert.equal(table.size, 3)
  assert.deepEqual(dropped, digests.slice(0, 2).map(String))
  for (const digest of digests.slice(2)) {
    const one = table.use(digest, 'a')
    if (one !== undefined) granted(ask(one, 'a', 0))
    table.trim()
  }
  assert.equal(table.size, 2)
})
