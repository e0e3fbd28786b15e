import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Bench } from '../../src/transfer/bench.ts'
import { seeded } from '../discovery/virtual-clock.ts'

const peer = (id: string) => ({ id, addresses: [] })

describe('those who wait for a place in a swarm', () => {
  it('are drawn at random, each once', () => {
    const bench = new Bench(seeded(1))
    for (let i = 0; i < 20; i++) bench.add(peer(`p${i}`), `n${i}`)
    bench.add(peer('p0'), 'n0')
    assert.equal(bench.size, 20)
    const drawn = Array.from({ length: 20 }, () => bench.draw(() => 0)?.id)
    assert.equal(new Set(drawn).size, 20)
    assert.notDeepEqual(
      drawn,
      Array.from({ length: 20 }, (_, i) => `p${i}`),
    )
    assert.equal(
      bench.draw(() => 0),
      undefined,
    )
    assert.equal(bench.size, 0)
  })

  it('come first where their network has few places yet', () => {
    const bench = new Bench(seeded(2))
    for (let i = 0; i < 50; i++) bench.add(peer(`many${i}`), 'many')
    bench.add(peer('few'), 'few')
    assert.equal(bench.draw((network) => (network === 'many' ? 5 : 1))?.id, 'few')
    assert.match(bench.draw((network) => (network === 'many' ? 5 : 1))?.id ?? '', /^many/)
  })

  it('are bounded in number, and whoever comes in masses pushes out only its own', () => {
    const bench = new Bench(seeded(3), 10)
    for (let i = 0; i < 4; i++) bench.add(peer(`p${i}`), `n${i}`)
    for (let i = 0; i < 1_000; i++) bench.add(peer(`many${i}`), 'many')
    assert.equal(bench.size, 10)
    const left = new Set(Array.from({ length: 10 }, () => bench.draw(() => 0)?.id))
    for (let i = 0; i < 4; i++) assert.ok(left.has(`p${i}`))
  })

  it('can leave', () => {
    const bench = new Bench(seeded(4))
    bench.add(peer('a'), 'n')
    bench.delete('a')
    bench.delete('b')
    assert.equal(bench.size, 0)
    assert.equal(
      bench.draw(() => 0),
      undefined,
    )
  })
})
