import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Bitfield } from '../../protocols/bitfield.ts'
import { isTurn, PER_HOLDER, type Rival, seedOf } from '../../src/transfer/turns.ts'

const PIECES = 64
const seeds = (count: number) => Array.from({ length: count }, (_, i) => seedOf(`12D3KooW member ${i}`))

function holding(...indices: number[]): Bitfield {
  const have = new Bitfield(PIECES)
  for (const index of indices) have.add(index)
  return have
}

/** What one member of a swarm, by its place in it, knows of the others. */
const others = (swarm: readonly Rival[], self: number) => swarm.filter((_, i) => i !== self)

/** The places in the swarm of those who lack the piece and whose turn it is, each as it sees it itself. */
function askers(swarm: readonly Rival[], index: number, holders: number): number[] {
  return swarm.flatMap(({ seed, have }, i) =>
    have?.has(index) !== true && isTurn(index, seed, others(swarm, i), holders) ? [i] : [],
  )
}

/** Members of which each holds some pieces, or nothing that is known. */
const swarms = fc
  .array(fc.option(fc.uniqueArray(fc.nat(PIECES - 1)), { nil: undefined }), { minLength: 1, maxLength: 60 })
  .map((held) => held.map((indices, i): Rival => ({ seed: seeds(60)[i] as number, have: indices && holding(...indices) })))

test('over any swarm, as many ask for a piece as its holders can well serve, and no more', () => {
  fc.assert(
    fc.property(swarms, fc.nat(PIECES - 1), (swarm, index) => {
      const holders = swarm.filter(({ have }) => have?.has(index) === true).length
      // whose turn it is to ask nobody does not matter
      fc.pre(holders > 0)
      const lacking = swarm.length - holders
      assert.equal(askers(swarm, index, holders).length, Math.min(lacking, PER_HOLDER * holders))
    }),
  )
})

test('all compute the same order: whoever may ask when few hold a piece may ask when more do, and nobody comes in between', () => {
  fc.assert(
    fc.property(swarms, fc.nat(PIECES - 1), (swarm, index) => {
      const lacking = swarm.filter(({ have }) => have?.has(index) !== true).length
      let before: number[] = []
      for (let holders = 1; before.length < lacking; holders++) {
        const now = askers(swarm, index, holders)
        assert.ok(before.every((member) => now.includes(member)))
        assert.equal(now.length, Math.min(lacking, PER_HOLDER * holders))
        before = now
      }
    }),
  )
})

test('a piece that one holds reaches everybody in as many steps as its tree has levels', () => {
  for (const count of [2, 10, 100, 500]) {
    const lacks = seeds(count).map((seed): Rival => ({ seed, have: holding() }))
    const swarm = lacks.map((member, i) => (i === 0 ? { ...member, have: holding(7) } : member))
    let steps = 0
    for (let holders = 1; holders < count; steps++) {
      const asking = askers(swarm, 7, holders)
      assert.ok(asking.length > 0, `${holders} of ${count} hold it, and nobody asks`)
      for (const member of asking) swarm[member] = { seed: (swarm[member] as Rival).seed, have: holding(7) }
      holders += asking.length
    }
    assert.ok(steps <= Math.ceil(Math.log(count) / Math.log(1 + PER_HOLDER)) + 1, `${steps} steps for ${count}`)
  }
})

test('each piece has an order of its own, so that not the same members are always last', () => {
  const swarm = seeds(50).map((seed): Rival => ({ seed, have: undefined }))
  const first = new Set(Array.from({ length: PIECES }, (_, index) => askers(swarm, index, 1)).flat())
  assert.ok(first.size > 40, `only ${first.size} of 50 members are ever among the first`)
})

test('who knows fewer of the others asks no later', () => {
  fc.assert(
    fc.property(swarms, fc.nat(PIECES - 1), fc.integer({ min: 1, max: 8 }), fc.nat(), (swarm, index, holders, skipped) => {
      const self = (swarm[0] as Rival).seed
      const all = others(swarm, 0)
      const known = all.filter((_, i) => i !== skipped % Math.max(1, all.length))
      assert.ok(isTurn(index, self, known, holders) || !isTurn(index, self, all, holders))
    }),
  )
})

test('when all others hold a piece it is the turn of the one who does not', () => {
  const [self = 0, ...rest] = seeds(40)
  const rivals = rest.map((seed): Rival => ({ seed, have: holding(...Array(PIECES).keys()) }))
  for (let index = 0; index < PIECES; index++) assert.ok(isTurn(index, self, rivals, rivals.length))
  assert.ok(isTurn(0, self, [], 1), 'and of one who knows nobody else that lacks it')
})
