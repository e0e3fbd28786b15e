import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { Holders } from '../../src/discovery/holders.ts'
import { StalePairs } from '../../src/discovery/stale-pairs.ts'
import { seeded } from './virtual-clock.ts'

describe('who holds what', () => {
  it('knows the holders of a blob until they say otherwise or are gone', () => {
    const holders = new Holders(seeded(1))
    for (const id of ['a', 'b', 'c']) holders.add('x', id)
    holders.add('y', 'a')
    assert.deepEqual(holders.find('x'), ['a', 'b', 'c'])
    assert.equal(holders.remove('x', 'b'), true)
    assert.equal(holders.remove('x', 'b'), false)
    holders.removePeers(new Set(['a', 'stranger']))
    assert.deepEqual(holders.find('x'), ['c'])
    assert.deepEqual(holders.find('y'), [])
    assert.equal(holders.size, 1)
  })

  it('keeps a sample of the holders of what everybody holds', () => {
    const holders = new Holders(seeded(2), { maxHolders: 4 })
    for (let i = 0; i < 1_000; i++) holders.add('x', `p${i}`)
    const kept = holders.find('x')
    assert.equal(kept.length, 4)
    assert.ok(holders.hasPlenty('x'))
    assert.ok(!kept.every((id) => ['p0', 'p1', 'p2', 'p3'].includes(id)))
  })

  it('puts those who hold a blob into one order, which is another for each blob', () => {
    const ids = ['a', 'b', 'c', 'd', 'e']
    const placesOf = (digest: string) =>
      ids.map((self) => {
        const holders = new Holders(seeded(4))
        for (const id of ids) if (id !== self) holders.add(digest, id)
        return holders.before(digest, self)
      })
    for (const digest of ['x', 'y']) assert.deepEqual(placesOf(digest).toSorted(), [0, 1, 2, 3, 4])
    assert.notDeepEqual(placesOf('x'), placesOf('y'))
    assert.equal(new Holders(seeded(4)).before('x', 'a'), 0)
  })

  it('forgets what was not asked for or told of for longest', () => {
    const holders = new Holders(seeded(3), { maxDigests: 3 })
    for (const digest of ['x', 'y', 'z']) holders.add(digest, 'a')
    holders.find('x')
    holders.add('new', 'a')
    assert.deepEqual(
      ['x', 'y', 'z', 'new'].filter((digest) => holders.find(digest).length > 0),
      ['x', 'z', 'new'],
    )
  })

  it('does not believe that one peer holds everything', () => {
    const holders = new Holders(seeded(4), { maxDigests: 100, maxClaims: 25 })
    for (let i = 0; i < 50; i++) holders.add(`honest ${i}`, `a${i % 5}`)
    for (let i = 0; i < 1_000; i++) holders.add(`made up ${i}`, 'liar')
    for (let i = 0; i < 50; i++) assert.equal(holders.find(`honest ${i}`).length, 1)
    assert.equal(holders.size, 75)
    assert.equal(holders.remove('made up 0', 'liar'), true)
    assert.equal(holders.add('made up 999', 'liar'), true)
  })

  it('stays within its bounds and loses no claim of its count, whatever happens', () => {
    const digest = fc.constantFrom('u', 'v', 'w', 'x', 'y', 'z')
    const peer = fc.constantFrom('a', 'b', 'c', 'd')
    const step = fc.tuple(fc.constantFrom('add', 'remove', 'find', 'gone'), digest, peer)
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const limits = { maxDigests: 4, maxHolders: 2, maxClaims: 3 }
        const holders = new Holders(seeded(5), limits)
        for (const [what, d, p] of steps) {
          if (what === 'add') holders.add(d, p)
          else if (what === 'remove') holders.remove(d, p)
          else if (what === 'find') assert.ok(holders.find(d).length <= limits.maxHolders)
          else holders.removePeers(new Set([p]))
          assert.ok(holders.size <= limits.maxDigests)
        }
        holders.removePeers(new Set(['a', 'b', 'c', 'd']))
        assert.equal(holders.size, 0)
        // Counts came out right: each peer may claim as much as in the beginning.
        for (const p of ['a', 'b'])
          assert.deepEqual(
            ['u', 'v', 'w', 'x'].map((d) => holders.add(d, p)),
            [true, true, true, false],
          )
      }),
    )
  })
})

describe('stale answers', () => {
  it('are not given again for ten minutes', () => {
    const stale = new StalePairs()
    stale.add('x', 'a', 0)
    assert.ok(stale.has('x', 'a', 599_999))
    assert.ok(!stale.has('x', 'a', 600_000))
    assert.ok(!stale.has('x', 'b', 0))
    assert.ok(!stale.has('y', 'a', 0))
  })

  it('are given again at once when the peer says that it holds the blob now, but only the first time', () => {
    const stale = new StalePairs()
    stale.add('x', 'a', 0)
    stale.refute('x', 'a', 10)
    assert.ok(!stale.has('x', 'a', 10))
    stale.add('x', 'a', 20)
    stale.refute('x', 'a', 30)
    assert.ok(stale.has('x', 'a', 30))
  })

  it('are bounded in number', () => {
    const stale = new StalePairs({ maxPairs: 2 })
    for (const id of ['a', 'b', 'c']) stale.add('x', id, 0)
    assert.deepEqual(
      ['a', 'b', 'c'].map((id) => stale.has('x', id, 1)),
      [false, true, true],
    )
  })
})
