import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../protocols/digest.ts'
import { geometryOf } from '../../protocols/pieces.ts'
import { BlobLeases, type Decision } from '../../src/rendezvous/blob-leases.ts'
import type { Lease } from '../../src/rendezvous/lease.ts'
import { LeaseTable } from '../../src/rendezvous/lease-table.ts'
import {
  leasePieces,
  MOST_LIVE,
  maxLiveLeases,
  nearlyDone,
  orphanedMs,
  patienceMs,
  pauseMs,
  SILENCE_MS,
} from '../../src/rendezvous/policy.ts'
import type { Run } from '../../src/rendezvous/ranges.ts'
import { seeded } from '../discovery/virtual-clock.ts'

const MiB = 1024 * 1024
/** The smallest blob whose leases are of four pieces. */
const SIZE = 256 * MiB
const GEOMETRY = geometryOf(SIZE)
const PIECES = GEOMETRY.pieces
/** The pieces of it that schedules made by chance are about. */
const PLAYED = 32
const ALL: readonly Run[] = [{ first: 0, last: PIECES - 1 }]

function blob(): BlobLeases {
  let id = 0
  return new BlobLeases({ random: seeded(7), nextId: () => ++id, firstLive: MOST_LIVE })
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
  table.join('b', 0)
  const first = granted(ask(table, 'a', 0))
  waits(ask(table, 'a', 1))
  for (const index of [0, 1, 2]) table.progress('a', first.id, index, 10)
  const second = granted(ask(table, 'a', 11, [{ first: 3, last: PIECES - 1 }]))
  assert.deepEqual([second.first, second.last], [4, 7])
  waits(ask(table, 'a', 12, [{ first: 8, last: PIECES - 1 }]))
  table.progress('a', first.id, 3, 13)
  waits(ask(table, 'a', 14, [{ first: 8, last: PIECES - 1 }]))
})

test('who is the only member is granted what it should bring in two seconds, at most three times what it has brought, and single leases when others come', () => {
  const table = blob()
  let now = 0
  let next = 0
  const bring = () => {
    const { id, first, last } = granted(ask(table, 'a', now, [{ first: next, last: PIECES - 1 }]))
    for (next = first; next <= last; next++) {
      now += 100
      table.progress('a', id, next, now)
    }
    return last - first + 1
  }
  assert.deepEqual([bring(), bring(), bring()], [4, 12, 20])
  table.join('b', 0)
  assert.equal(bring(), 4)
})

test('an importer whose origin says nothing for four seconds loses the lease to another', () => {
  assert.equal(SILENCE_MS, 4_000)
  const table = blob()
  granted(ask(table, 'a', 0))
  waits(ask(table, 'b', SILENCE_MS / 2, [{ first: 0, last: 3 }]))
  table.expire(SILENCE_MS - 1)
  assert.equal(table.piecesOf(1).length, 4)
  table.expire(SILENCE_MS)
  const again = granted(ask(table, 'b', SILENCE_MS + 1))
  assert.equal(again.first, 0)
})

test('a slow importer keeps its lease for as long as bytes come, but not for ever', () => {
  const table = blob()
  const lease = granted(ask(table, 'a', 0))
  const end = patienceMs(GEOMETRY.pieceBytes)
  for (let now = 0; now < end - 1; now += SILENCE_MS / 4) {
    table.alive('a', lease.id, now)
    table.expire(now + 1)
    assert.equal(lease.lapsed, false)
  }
  table.alive('a', lease.id, end)
  table.expire(end + 1)
  assert.equal(lease.lapsed, true)
  table.alive('a', lease.id, end + 2)
  assert.equal(granted(ask(table, 'b', end + 3)).first, 0)
})

test('an importer that comes back to life keeps what nobody else has taken', () => {
  const table = blob()
  const lease = granted(ask(table, 'a', 0))
  table.expire(SILENCE_MS)
  granted(ask(table, 'b', SILENCE_MS + 1, [{ first: 0, last: 1 }]))
  table.progress('a', lease.id, 2, 2_100)
  waits(ask(table, 'c', 2_101, [{ first: 0, last: 3 }]))
  assert.equal(granted(ask(table, 'c', 2_100 + orphanedMs(table.members), [{ first: 0, last: 2 }])).first, 2)
})

test('after a failure the pieces are free at once for others, and the one who failed waits', () => {
  const table = blob()
  const lease = granted(ask(table, 'a', 0))
  table.end('a', lease.id, { done: false, retryAfterMs: 0 }, 10)
  assert.equal(waits(ask(table, 'a', 11)), pauseMs(1) - 1)
  assert.equal(granted(ask(table, 'b', 11)).first, 0)
  granted(ask(table, 'a', 10 + pauseMs(1)))
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
  waits(ask(table, 'b', 99 + orphanedMs(2), [{ first: 0, last: 3 }]))
  const again = granted(ask(table, 'b', 100 + orphanedMs(2), [{ first: 0, last: 0 }]))
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
  table.expire(SILENCE_MS)
  const second = granted(ask(table, 'b', SILENCE_MS, [], 0))
  assert.equal(table.opened('b', second.id, SIZE, false, 2_100), true)
  assert.equal(table.size, SIZE)
  assert.deepEqual([second.first, second.last, second.size], [0, 0, SIZE])
  assert.equal(granted(ask(table, 'c', 2_101, [], 0)).first, 1)
})

test('an origin that ignores ranges is read by one, and by another from where that one failed', () => {
  const table = blob()
  const open = granted(ask(table, 'a', 0, [], 0))
  table.opened('a', open.id, SIZE, true, 10)
  waits(ask(table, 'b', 11))
  for (let index = 0; index < 10; index++) table.progress('a', open.id, index, 20 + index)
  waits(ask(table, 'b', 100, [{ first: 10, last: PIECES - 1 }]))
  assert.deepEqual(table.call(199), [])
  table.end('a', open.id, { done: false, retryAfterMs: 0 }, 200)
  assert.deepEqual(table.call(200), ['b'])
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

test('a lease is a 256th of its blob, but at least two of the smallest pieces where there are enough, and at most 16 MiB', () => {
  const bytesOf = (size: number) => leasePieces(geometryOf(size), 40, 100) * geometryOf(size).pieceBytes
  const KiB = 1024
  assert.deepEqual([MiB, 63 * MiB, 64 * MiB, 128 * MiB, SIZE, 4096 * MiB, 64 * 1024 * MiB].map(bytesOf), [
    256 * KiB,
    256 * KiB,
    512 * KiB,
    512 * KiB,
    MiB,
    16 * MiB,
    16 * MiB,
  ])
})

test('the first lease of a member of a crowd is one of the smallest pieces, until it is known how quick it is', () => {
  const geometry = geometryOf(64 * MiB)
  assert.deepEqual([leasePieces(geometry, 40, 100, true), leasePieces(geometry, 40, 100)], [1, 2])
})

test('a lease is two pieces where members are so few that the origin would wait for them, once there is enough to pass on', () => {
  const geometry = geometryOf(32 * MiB)
  assert.equal(leasePieces(geometry, 6, 12), 2)
  assert.equal(leasePieces(geometry, 6, 11), 1)
  assert.equal(leasePieces(geometry, 7, 100), 1)
  assert.equal(leasePieces(geometry, 2, 100), 1)
})

/** A table with so many members who know the size. */
function crowded(members: number): { table: BlobLeases; names: readonly string[] } {
  const table = blob()
  const names = Array.from({ length: members }, (_, i) => `m${i}`)
  for (const name of names) table.join(name, SIZE)
  return { table, names }
}

test('half a crowd imports at a time, twelve at least and sixteen at most, and whoever is nearly done makes room', () => {
  for (const members of [5, 14, 20, 31, 200]) {
    const { table, names } = crowded(members)
    const most = Math.min(members, Math.max(12, Math.min(16, Math.ceil(members / 2))))
    const leases = names.slice(0, most).map((name) => granted(ask(table, name, 0)))
    assert.ok(most === members || most === maxLiveLeases(members))
    const late = names[most]
    if (late === undefined) continue
    waits(ask(table, late, 1))
    const { id, member } = leases[1] as Lease
    // what was brought, and who is called then
    const called = [4, 5, 6].map((index) => {
      table.progress(member, id, index, 2)
      return table.call(2)
    })
    assert.deepEqual(called, [[], [], [late]])
    assert.equal(granted(ask(table, late, 3)).first, 4 * most)
    const later = names[most + 1] ?? member
    table.progress(member, id, 7, 3)
    waits(ask(table, later, 4))
    table.end((leases[2] as Lease).member, (leases[2] as Lease).id, { done: false, retryAfterMs: 0 }, 5)
    assert.deepEqual(table.call(5), [later])
    assert.equal(granted(ask(table, later, 6, [{ first: 8, last: 11 }])).first, 8)
  }
})

test('an importer that shows no life makes room for another', () => {
  const { table, names } = crowded(14)
  for (const name of names.slice(0, maxLiveLeases(14))) granted(ask(table, name, 0))
  waits(ask(table, 'm13', SILENCE_MS - 1))
  table.expire(SILENCE_MS)
  granted(ask(table, 'm13', SILENCE_MS))
})

test('leases of a size that is a lie keep nobody from importing', () => {
  const { table, names } = crowded(14)
  for (const liar of names.slice(0, maxLiveLeases(14))) granted(ask(table, liar, 0, ALL, 2 * SIZE))
  waits(ask(table, 'm12', 1, ALL, 2 * SIZE))
  granted(ask(table, 'm13', 1))
})

/** A lease that brought a piece so short a while ago is not overdue. */
const QUICK_MS = 500

test('whatever importers do, no more leases are granted than may be live, but for those that bring nothing', () => {
  const step = fc.record({ what: fc.constantFrom('ask', 'ask', 'open', 'progress', 'progress', 'end', 'fail'), who: fc.nat(39) })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200, size: 'max' }), (steps) => {
      const { table, names } = crowded(40)
      let now = 0
      for (const { what, who } of steps) {
        const name = names[who] as string
        const own = [...table.leases()].find(({ member }) => member === name)
        now += 10
        const got = what === 'ask' && 'lease' in ask(table, name, now)
        const live = [...table.leases()].filter(
          (lease) => !lease.lapsed && !nearlyDone(lease) && now - lease.progressedAt < QUICK_MS,
        )
        assert.ok(!got || live.length <= maxLiveLeases(40), `${live.length}`)
        if (own === undefined) continue
        if (what === 'open') table.opened(name, own.id, SIZE, false, now)
        if (what === 'progress') table.progress(name, own.id, own.last - own.remaining + 1, now)
        if (what === 'end' || what === 'fail') table.end(name, own.id, { done: what === 'end', retryAfterMs: 0 }, now)
        table.expire(now)
      }
    }),
    { numRuns: 200 },
  )
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
  number: fc.nat(PLAYED - 1),
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
      const decision = ask(table, member, now, [{ first: number, last: PLAYED - 1 }], number % 3 === 0 ? 0 : SIZE)
      if ('lease' in decision) leases.set(decision.lease.id, decision.lease)
    }
    if (what === 'hold') {
      const noted = table.hold(member, SIZE, { first: number, last: Math.min(PLAYED - 1, number + 3) }, now)
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
      const missing = new Set(Array.from({ length: PLAYED }, (_, i) => i))
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
        bounds: { blobs: 4, membersPerBlob: 8, pieces: 8 * PIECES, firstLive: MOST_LIVE },
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
    bounds: { blobs: 3, membersPerBlob: 2, pieces: 2 * PIECES, firstLive: MOST_LIVE },
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
