import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import type { Beacon, HolderNews } from '../../protocols/beacon/codec.ts'
import { parseZone } from '../../protocols/zone.ts'
import { ZoneView } from '../../src/discovery/zone-view.ts'

const label = parseZone('eu/a/r1')

function beacon(sequence: number, over: Partial<Beacon> = {}): Beacon {
  const addresses = ['/ip4/10.0.0.1/tcp/7402']
  return { type: 'beacon', label, addresses, roles: [], load: 3, version: '1.2.3', startedAt: 1_000, sequence, ...over }
}

function news(addresses: readonly string[] = ['/ip4/10.0.0.9/tcp/7402']): HolderNews {
  return { type: 'news', addresses, added: [], removed: [] }
}

function ids(view: ZoneView): string[] {
  return view.members().map(({ peer }) => peer.id)
}

describe('the view of a zone', () => {
  const open = (maxMembers?: number) => new ZoneView({ self: 'me', label, ...(maxMembers === undefined ? {} : { maxMembers }) })

  it('has a member from its first beacon on, as it describes itself', () => {
    const view = open()
    assert.deepEqual(view.hearBeacon('a', beacon(0), 500), { verdict: 'accept', joined: true })
    const [member, ...more] = view.members()
    assert.deepEqual(more, [])
    assert.deepEqual(member, {
      peer: { id: 'a', addresses: ['/ip4/10.0.0.1/tcp/7402'] },
      label,
      load: 3,
      version: '1.2.3',
      roles: [],
      heardAt: 500,
    })
  })

  it('ignores a beacon that is older than the last, of this start or of an earlier one', () => {
    const view = open()
    view.hearBeacon('a', beacon(7, { startedAt: 2_000, load: 7 }), 0)
    for (const old of [beacon(7, { startedAt: 2_000 }), beacon(6, { startedAt: 2_000 }), beacon(99, { startedAt: 1_999 })])
      assert.equal(view.hearBeacon('a', old, 1).verdict, 'ignore')
    assert.equal(view.members()[0]?.load, 7)
    assert.deepEqual(view.hearBeacon('a', beacon(8, { startedAt: 2_000 }), 2), { verdict: 'accept', joined: false })
  })

  it('takes a restart as a join', () => {
    const view = open()
    view.hearBeacon('a', beacon(70), 0)
    assert.deepEqual(view.hearBeacon('a', beacon(0, { startedAt: 3_000 }), 5), { verdict: 'accept', joined: true })
    assert.deepEqual(ids(view), ['a'])
  })

  it('rejects a label of another zone; another rack is the same zone', () => {
    const view = open()
    assert.equal(view.hearBeacon('a', beacon(0, { label: parseZone('eu/b') }), 0).verdict, 'reject')
    assert.equal(view.hearBeacon('a', beacon(0, { label: parseZone('us/a/r1') }), 0).verdict, 'reject')
    assert.equal(view.hearBeacon('a', beacon(0, { label: parseZone('eu/a/r2') }), 0).verdict, 'accept')
  })

  it('is never about this node itself', () => {
    const view = open()
    assert.equal(view.hearBeacon('me', beacon(0), 0).verdict, 'ignore')
    assert.equal(view.nodes, 1)
  })

  it('forgets who dies silently after a few missed beacons', () => {
    const view = open()
    view.hearBeacon('a', beacon(0), 0)
    view.hearBeacon('b', beacon(0), 8_000)
    assert.deepEqual([...view.expire(29_999)], [])
    assert.deepEqual([...view.expire(30_000)], ['a'])
    assert.deepEqual(ids(view), ['b'])
  })

  it('does not take the living for dead when most of a large zone dies', () => {
    const view = open()
    for (let i = 0; i < 1_000; i++) view.hearBeacon(`p${i}`, beacon(0), i * 20)
    const alive = Array.from({ length: 10 }, (_, i) => `p${i}`)
    for (let round = 1; round <= 5; round++)
      for (const id of alive) assert.equal(view.hearBeacon(id, beacon(round), round * 20_000).verdict, 'accept')
    assert.equal(view.expire(121_000).size, 990)
    // They still beacon at the pace of the zone as it was.
    assert.equal(view.expire(139_000).size, 0)
    assert.deepEqual(ids(view), alive)
  })

  it('is patient with members that beacon at the pace of a zone larger than it has seen yet', () => {
    const view = open()
    view.hearBeacon('early', beacon(0), 0)
    for (let i = 0; i < 500; i++) view.hearBeacon(`p${i}`, beacon(0), i * 20)
    assert.equal(view.expire(30_000).size, 0)
  })

  it('hears an author no more often than an honest one has to say', () => {
    const view = open()
    let accepted = 0
    for (let now = 0; now < 60_000; now += 10) if (view.hearBeacon('a', beacon(now), now).verdict === 'accept') accepted++
    assert.ok(accepted <= 6 + 60_000 / 500 + 1, `${accepted} beacons`)
    let heard = 0
    for (let now = 60_000; now < 120_000; now += 10) if (view.hearNews('a', news(), now).verdict === 'accept') heard++
    assert.ok(heard <= 16 + 60_000 / 100 + 1, `${heard} messages of news`)
    assert.equal(view.hearBeacon('b', beacon(0), 120_000).verdict, 'accept')
  })

  it('hears honest members at their pace in zones of every size', () => {
    for (const size of [2, 50, 300]) {
      const view = open()
      let now = 0
      for (let round = 0; round < 5; round++) {
        const gapMs = view.intervalMs(now) / size
        for (let i = 0; i < size; i++, now += gapMs)
          assert.equal(view.hearBeacon(`p${i}`, beacon(round), now).verdict, 'accept', `round ${round} of ${size}`)
      }
    }
  })

  it('knows the addresses of who only told news, and counts it as a member when its beacon comes', () => {
    const view = open()
    view.hearNews('a', news(), 0)
    assert.deepEqual(view.peer('a')?.addresses, ['/ip4/10.0.0.9/tcp/7402'])
    assert.deepEqual(ids(view), [])
    assert.equal(view.hearBeacon('a', beacon(0), 1).joined, true)
    assert.deepEqual(ids(view), ['a'])
  })

  it('does not let a member name others as its addresses', () => {
    const view = open()
    const addresses = ['/ip4/10.0.0.1/tcp/1/p2p/b', '/ip4/10.0.0.1/tcp/2/p2p/a', '/ip4/10.0.0.1/tcp/3']
    view.hearBeacon('a', beacon(0, { addresses }), 0)
    assert.deepEqual(view.peer('a')?.addresses, addresses.slice(1))
  })

  it('takes no one new when it is full, and keeps those it has', () => {
    const view = open(3)
    for (const id of ['a', 'b', 'c']) view.hearBeacon(id, beacon(0), 0)
    assert.equal(view.hearBeacon('d', beacon(0), 1).verdict, 'ignore')
    assert.equal(view.hearNews('d', news(), 1).verdict, 'ignore')
    assert.deepEqual(ids(view), ['a', 'b', 'c'])
    view.expire(60_000)
    assert.equal(view.hearBeacon('d', beacon(0), 60_001).verdict, 'accept')
  })

  it('stays within its bounds, and says of each member only what that member signed, whatever is sent', () => {
    const authors = fc.constantFrom('me', ...Array.from({ length: 12 }, (_, i) => `p${i}`))
    const anyBeacon = fc.record({
      type: fc.constant('beacon' as const),
      label: fc.constantFrom(label, parseZone('eu/a'), parseZone('eu/b')),
      addresses: fc.array(
        fc.oneof(
          authors.map((id) => `/ip4/10.0.0.1/tcp/1/p2p/${id}`),
          fc.string(),
        ),
        { maxLength: 16 },
      ),
      roles: fc.array(fc.string({ maxLength: 32 }), { maxLength: 8 }),
      load: fc.nat(255),
      version: authors,
      startedAt: fc.nat(5),
      sequence: fc.nat(20),
    })
    const anyNews = fc.array(fc.string(), { maxLength: 16 }).map(news)
    const steps = fc.array(fc.tuple(authors, fc.oneof(anyBeacon, anyNews), fc.nat(3_000)), { maxLength: 200 })
    fc.assert(
      fc.property(steps, (messages) => {
        const view = open(8)
        let now = 0
        for (const [author, message, pauseMs] of messages) {
          now += pauseMs
          const heard = message.type === 'beacon' ? { ...message, version: author } : message
          if (heard.type === 'beacon') view.hearBeacon(author, heard, now)
          else view.hearNews(author, heard, now)
          if (pauseMs > 2_900) view.expire(now)
          assert.ok(view.nodes <= 9)
          for (const { peer, version, label } of view.members()) {
            assert.notEqual(peer.id, 'me')
            assert.equal(version, peer.id)
            assert.equal(label.zone, 'a')
            assert.ok(peer.addresses.length <= 8)
            assert.ok(peer.addresses.every((a) => !a.includes('/p2p/') || a.endsWith(`/p2p/${peer.id}`)))
          }
        }
      }),
      { numRuns: 100 },
    )
  })
})
