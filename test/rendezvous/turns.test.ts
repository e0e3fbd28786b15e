import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { geometryOf } from '../../protocols/pieces.ts'
import { BlobLeases } from '../../src/rendezvous/blob-leases.ts'
import type { Lease } from '../../src/rendezvous/lease.ts'
import {
  FIRST_LIVE,
  HELD_BACK_MS,
  isAhead,
  isOverdue,
  MOST_LIVE,
  maxLiveLeases,
  restMs,
  SILENCE_MS,
} from '../../src/rendezvous/policy.ts'
import { Queue } from '../../src/rendezvous/queue.ts'
import { Speeds } from '../../src/rendezvous/speeds.ts'
import { seeded } from '../discovery/virtual-clock.ts'

const MiB = 1024 * 1024
/** A blob whose leases are of one piece. */
/** The most that has leases of one piece. */
const SIZE = 63 * MiB
const ALL = [{ first: 0, last: geometryOf(SIZE).pieces - 1 }]

/** Members that know the size, by name, and a table. */
class Crowd {
  readonly table: BlobLeases
  readonly names: readonly string[]
  now = 0

  constructor(members: number) {
    let id = 0
    this.table = new BlobLeases({ random: seeded(7), nextId: () => ++id, firstLive: MOST_LIVE })
    this.names = Array.from({ length: members }, (_, i) => `m${i}`)
    for (const name of this.names) this.table.join(name, SIZE)
  }

  /** @returns the lease, or `undefined` when it is told to wait */
  ask(name: string): Lease | undefined {
    const decision = this.table.ask({ member: name, size: SIZE, runs: ALL }, this.now)
    return 'lease' in decision ? decision.lease : undefined
  }

  leaseOf(name: string): Lease | undefined {
    return [...this.table.leases()].find(({ member, lapsed }) => member === name && !lapsed)
  }

  /** Brings the piece of its lease. @returns who is called then */
  bring(name: string): string[] {
    const lease = this.leaseOf(name)
    assert.ok(lease !== undefined, `${name} has no lease`)
    this.table.progress(name, lease.id, lease.first, this.now)
    return this.table.call(this.now)
  }
}

describe('leases of a crowd', () => {
  it('go to who waits for longest, not to who has just ended one', () => {
    const crowd = new Crowd(20)
    const most = maxLiveLeases(20)
    for (const name of crowd.names) assert.equal(crowd.ask(name) !== undefined, crowd.names.indexOf(name) < most)
    for (let i = 0; i < 20 - most; i++) {
      crowd.now += 10
      assert.deepEqual(crowd.bring(`m${i}`), [`m${most + i}`])
      assert.equal(crowd.ask(`m${i}`), undefined, 'who has just ended one is served first')
      assert.notEqual(crowd.ask(`m${most + i}`), undefined)
    }
  })

  it('go to who has imported least among those who wait', () => {
    const crowd = new Crowd(14)
    for (const name of crowd.names) crowd.ask(name)
    crowd.now = 10
    assert.deepEqual(crowd.bring('m0'), ['m12'])
    assert.equal(crowd.ask('m0'), undefined)
    assert.notEqual(crowd.ask('m12'), undefined)
    assert.deepEqual(crowd.bring('m1'), ['m13'])
    assert.notEqual(crowd.ask('m13'), undefined)
    crowd.table.join('m14', SIZE)
    assert.equal(crowd.ask('m14'), undefined)
    assert.deepEqual(crowd.bring('m2'), ['m14'], 'm0 waits for longer, but has had its turn')
  })

  it('are kept for who is called for a second, and then go to the next', () => {
    const crowd = new Crowd(14)
    for (const name of crowd.names) crowd.ask(name)
    assert.deepEqual(crowd.bring('m0'), ['m12'])
    crowd.now = 999
    crowd.table.expire(crowd.now)
    assert.deepEqual(crowd.table.call(crowd.now), [])
    assert.equal(crowd.ask('m0'), undefined)
    assert.equal(crowd.table.nextExpiry(), 1_000)
    crowd.now = 1_000
    crowd.table.expire(crowd.now)
    assert.deepEqual(crowd.table.call(crowd.now), ['m13'])
  })

  it('are one for each member, and two where members are few: the second as soon as the origin has answered the first', () => {
    for (const members of [2, 4, 16, 17, 20]) {
      const crowd = new Crowd(members)
      assert.notEqual(crowd.table.ask({ member: 'm0', size: 4 * SIZE, runs: ALL }, 0), undefined)
      const [first] = [...crowd.table.leases()] as [Lease]
      const next = { member: 'm0', size: 4 * SIZE, runs: [{ first: 4, last: 99 }] }
      assert.ok(!('lease' in crowd.table.ask(next, 1)))
      crowd.table.opened('m0', first.id, 4 * SIZE, false, 1)
      assert.equal('lease' in crowd.table.ask(next, 2), members <= 16)
    }
  })
})

describe('the first leases of a crowd', () => {
  it('are three, and one more for each piece that was imported, as far as may be live', () => {
    let id = 0
    const table = new BlobLeases({ random: seeded(7), nextId: () => ++id, firstLive: FIRST_LIVE })
    const names = Array.from({ length: 40 }, (_, i) => `m${i}`)
    for (const name of names) table.join(name, SIZE)
    const live = () => [...table.leases()]
    for (let imports = 0; imports < 40; imports++) {
      for (const member of names) table.ask({ member, size: SIZE, runs: ALL }, imports)
      assert.equal(live().length, Math.min(maxLiveLeases(40), 3 + imports))
      const { member, id, first } = live()[0] as Lease
      table.progress(member, id, first, imports)
    }
  })

  it('go to others before who has imported more than they, for a moment', () => {
    assert.equal(isAhead(5, [], 20), false, 'nobody else imports')
    assert.equal(isAhead(5, [0, 2], 20), false)
    assert.equal(isAhead(6, [0, 2], 20), true)
    assert.equal(isAhead(16, [8, 12], 6), false, 'few take two pieces at a time')
    assert.equal(isAhead(19, [8, 12], 6), true)
    const crowd = new Crowd(20)
    for (let i = 0; i < 6; i++) {
      assert.notEqual(crowd.ask('m0'), undefined)
      crowd.bring('m0')
    }
    assert.notEqual(crowd.ask('m0'), undefined, 'nobody else imports')
    crowd.bring('m0')
    assert.notEqual(crowd.ask('m1'), undefined)
    const held = crowd.table.ask({ member: 'm0', size: SIZE, runs: ALL }, 0)
    assert.deepEqual(held, { retryMs: HELD_BACK_MS })
    crowd.now = 10_000
    assert.notEqual(crowd.ask('m0'), undefined, 'what brings nothing for long holds nobody back')
  })
})

/** Lets a crowd import for a while, each at its own speed. @returns how many pieces each brought */
function play(crowd: Crowd, pieceMs: (name: string) => number, untilMs: number): Map<string, number> {
  const brought = new Map(crowd.names.map((name) => [name, 0]))
  const seen = new Set<number>()
  for (; crowd.now < untilMs; crowd.now += 10) {
    crowd.table.expire(crowd.now)
    for (const name of crowd.names) {
      const lease = crowd.leaseOf(name)
      if (lease === undefined) {
        const runs = Array.from({ length: geometryOf(SIZE).pieces }, (_, i) => i).flatMap((i) =>
          seen.has(i) ? [] : [{ first: i, last: i }],
        )
        if (runs.length > 0) crowd.table.ask({ member: name, size: SIZE, runs }, crowd.now)
      } else if (crowd.now - lease.progressedAt >= pieceMs(name)) {
        crowd.table.progress(name, lease.id, lease.first, crowd.now)
        brought.set(name, (brought.get(name) ?? 0) + 1)
        seen.add(lease.first)
      } else crowd.table.alive(name, lease.id, crowd.now)
      crowd.table.call(crowd.now)
    }
  }
  return brought
}

describe('a slow importer', () => {
  for (const members of [8, 24]) {
    it(`of ${members} brings next to nothing while the others are quick, which are held up by nothing`, () => {
      const crowd = new Crowd(members)
      const brought = play(crowd, (name) => (name === 'm2' ? 6_000 : 600), 6_000)
      const slow = brought.get('m2') as number
      brought.delete('m2')
      assert.ok(slow <= 1, `${slow} pieces`)
      assert.ok(Math.min(...brought.values()) >= 2, `${[...brought.values()]}`)
    })
  }

  it('is granted what it asks for when nobody else does', () => {
    const crowd = new Crowd(8)
    const others = crowd.names.filter((name) => name !== 'm2')
    for (const name of crowd.names) crowd.ask(name)
    crowd.now = 600
    for (const name of others) crowd.bring(name)
    crowd.now = 1_900
    crowd.bring('m2')
    crowd.now = 2_000
    for (const name of others) crowd.ask(name)
    assert.equal(crowd.ask('m2'), undefined)
    for (const name of others) crowd.bring(name)
    assert.notEqual(crowd.ask('m2'), undefined)
  })

  it('has its turn again after a rest', () => {
    const crowd = new Crowd(8)
    for (const name of crowd.names) crowd.ask(name)
    crowd.now = 600
    for (const name of crowd.names) if (name !== 'm2') crowd.bring(name)
    crowd.now = 1_900
    crowd.bring('m2')
    crowd.now += restMs(1_900)
    crowd.ask('m0')
    assert.notEqual(crowd.ask('m2'), undefined)
  })

  it('is one that takes more than three times as long as most, and longer than a hiccup', () => {
    const speeds = new Speeds()
    speeds.note('a', 600)
    assert.equal(speeds.usualMs, undefined)
    for (const name of ['b', 'c']) speeds.note(name, 600)
    speeds.note('d', 1_900)
    speeds.note('e', 1_700)
    assert.deepEqual(
      ['a', 'd', 'e', 'unknown'].map((name) => speeds.slow(name)),
      [false, true, false, false],
    )
    const quick = new Speeds()
    for (const name of ['a', 'b', 'c']) quick.note(name, 10)
    quick.note('d', 400)
    assert.equal(quick.slow('d'), false)
  })
})

describe('members that take leases and bring nothing', () => {
  it('keep nobody from importing for longer than a silence, whatever life they show', () => {
    const crowd = new Crowd(40)
    const most = maxLiveLeases(40)
    for (let i = 0; i < most; i++) crowd.ask(`m${i}`)
    assert.equal(crowd.ask('m20'), undefined)
    for (crowd.now = 0; crowd.now <= SILENCE_MS; crowd.now += 500)
      for (let i = 0; i < most; i++) crowd.table.alive(`m${i}`, crowd.leaseOf(`m${i}`)?.id ?? 0, crowd.now)
    crowd.now = SILENCE_MS + 1
    assert.deepEqual(crowd.table.call(crowd.now), ['m20'])
    assert.notEqual(crowd.ask('m20'), undefined)
    for (let i = 21; i < 36; i++) assert.notEqual(crowd.ask(`m${i}`), undefined)
    assert.equal(crowd.ask('m36'), undefined)
  })

  it('come after those who bring something', () => {
    const crowd = new Crowd(40)
    const hogs = crowd.names.slice(0, 16)
    for (const name of crowd.names) crowd.ask(name)
    crowd.now = SILENCE_MS
    crowd.table.expire(crowd.now)
    assert.deepEqual(crowd.table.call(crowd.now).sort(), crowd.names.slice(16, 32).sort())
    crowd.now += 500
    for (const name of hogs) assert.equal(crowd.ask(name), undefined, 'a place that is kept for another is given to a hog')
    for (const name of crowd.names.slice(16, 32)) assert.notEqual(crowd.ask(name), undefined)
    assert.ok(hogs.includes('m0'))
    for (let i = 16; i < 24; i++) assert.deepEqual(crowd.bring(`m${i}`), [`m${i + 16}`])
  })

  it('are overdue when others would have brought theirs twice', () => {
    const lease = { progressedAt: 0 }
    assert.deepEqual(
      [SILENCE_MS, SILENCE_MS + 1].map((now) => isOverdue(lease, undefined, now)),
      [false, true],
    )
    assert.deepEqual(
      [1_200, 1_201].map((now) => isOverdue(lease, 600, now)),
      [false, true],
    )
    assert.deepEqual(
      [500, 501].map((now) => isOverdue(lease, 1, now)),
      [false, true],
    )
  })
})

describe('members that are called and do not come', () => {
  it('are called after those who do', () => {
    const crowd = new Crowd(24)
    for (const name of crowd.names) crowd.ask(name)
    crowd.now = 600
    assert.deepEqual([...crowd.bring('m0'), ...crowd.bring('m1')], ['m12', 'm13'])
    crowd.now = 1_600
    crowd.table.expire(crowd.now)
    crowd.table.call(crowd.now)
    for (const name of [...crowd.names.slice(14), 'm0', 'm1']) assert.notEqual(crowd.ask(name), undefined)
    for (const name of ['m12', 'm13']) assert.equal(crowd.ask(name), undefined)
    crowd.now = 1_700
    assert.deepEqual(crowd.bring('m14'), ['m12'])
    assert.equal(crowd.ask('m14'), undefined)
    assert.deepEqual(crowd.bring('m15'), ['m14'], 'm13 did not come the last time')
  })
})

describe('the queue', () => {
  const any = () => true
  const equal = () => 0

  it('calls each once, and no more than there is room for', () => {
    const queue = new Queue()
    for (const id of ['a', 'b', 'c']) queue.enter(id)
    assert.deepEqual(queue.call(2, any, equal, 0), ['a', 'b'])
    assert.deepEqual(queue.call(2, any, equal, 1), [])
    assert.equal(queue.keptFrom('a', 1), 1)
    assert.equal(queue.keptFrom('c', 1), 2)
    queue.leave('a')
    assert.deepEqual(queue.call(2, any, equal, 2), ['c'])
  })

  it('leaves out those who may not', () => {
    const queue = new Queue()
    for (const id of ['a', 'b']) queue.enter(id)
    assert.deepEqual(
      queue.call(9, (id) => id !== 'a', equal, 0),
      ['b'],
    )
  })

  it('never keeps more than there is room for, nor for longer than a second', () => {
    const step = fc.record({ what: fc.constantFrom('enter', 'leave', 'call', 'later'), who: fc.nat(9), number: fc.nat(5) })
    fc.assert(
      fc.property(fc.array(step, { maxLength: 100, size: 'max' }), (steps) => {
        const queue = new Queue()
        let [now, most, calledAt] = [0, 0, 0]
        for (const { what, who, number } of steps) {
          now += 7
          if (what === 'enter') queue.enter(`${who}`)
          if (what === 'leave') queue.leave(`${who}`)
          if (what === 'later') now += 300 * number
          queue.expire(now)
          if (what === 'call') {
            const kept = queue.keptFrom('', now)
            const called = queue.call(number, any, equal, now).length
            assert.ok(called === 0 || kept + called <= number)
            if (called > 0) calledAt = now
            most = Math.max(most, number)
          }
          assert.ok(queue.keptFrom('', now) <= most)
          if (now - calledAt >= 1_000) assert.equal(queue.keptFrom('', now), 0)
        }
      }),
    )
  })
})
