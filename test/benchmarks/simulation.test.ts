import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { type Figures, figuresOf } from '../../benchmarks/simulation/figures.ts'
import { DEFAULTS, type Scenario } from '../../benchmarks/simulation/scenario.ts'
import { simulate } from '../../benchmarks/simulation/simulate.ts'
import type { World } from '../../benchmarks/simulation/world.ts'

const SMALL: Scenario = { ...DEFAULTS, hosts: 12, mib: 8, mbit: 20, originMbit: 20, spreadMs: 200 }

async function run(change: Partial<Scenario> = {}): Promise<{ world: World; figures: Figures }> {
  const world = await simulate({ ...SMALL, ...change })
  return { world, figures: figuresOf(world) }
}

function assertEverybodyElseHasAll({ peers }: World, dead: readonly number[] = []): void {
  for (const { index, alive, holdings } of peers) {
    assert.equal(alive, !dead.includes(index))
    if (alive) assert.ok(holdings.held.complete, `host ${index} lacks pieces`)
  }
}

describe('a simulated crowd', () => {
  it('is the same for the same seed, and another for another', async () => {
    const [one, same, other] = [await run(), await run(), await run({ seed: 2 })]
    assert.deepEqual(same.figures, one.figures)
    assert.deepEqual(
      same.world.peers.map(({ tookMs }) => tookMs),
      one.world.peers.map(({ tookMs }) => tookMs),
    )
    assert.notDeepEqual(other.figures, one.figures)
  })

  it('ends with everything everywhere, and what was sent was received, held or wasted', async () => {
    for (const hosts of [1, 2, 12, 50]) {
      const { world } = await run({ hosts })
      assertEverybodyElseHasAll(world)
      const { sentBytes, receivedBytes } = world.network
      assertClose(sum(sentBytes), sum(receivedBytes))
      assertClose(sum(receivedBytes), hosts * world.geometry.size + world.wastedBytes)
      assertClose(sentBytes[world.origin] as number, world.originBytes)
    }
  })

  it('is never faster than its links', async () => {
    for (const change of [
      {},
      { hosts: 50, mbit: 100 },
      { hosts: 4, originMbit: 200 },
      { hosts: 3, spreadMs: 0, latencyMs: 0.1 },
    ]) {
      const { world, figures } = await run(change)
      assert.equal(figures.unfinished, 0)
      assert.ok(figures.ratio >= 1.046, `${figures.ratio}`)
      const all = world.peers.map(({ tookMs }) => tookMs ?? 0)
      assert.ok(
        Math.min(...all) >= (world.geometry.size * 8 * 1.046) / (world.scenario.mbit * 1_000),
        'nobody beats its own link',
      )
    }
  })

  it('outlives its rendezvous and the standby', async () => {
    const { world, figures } = await run({
      deaths: [
        { atMs: 1_500, host: 'rendezvous' },
        { atMs: 2_500, host: 'standby' },
      ],
    })
    assert.equal(figures.unfinished, 0)
    assert.equal(world.peers.filter(({ alive }) => !alive).length, 2)
    for (const { alive, holdings } of world.peers) assert.ok(!alive || holdings.held.complete)
  })

  it('outlives a quarter of its hosts', async () => {
    const dead = [1, 4, 7]
    const { world } = await run({ deaths: dead.map((host) => ({ atMs: 2_000, host })) })
    assertEverybodyElseHasAll(world, dead)
  })

  it('does without its origin once that has sent a copy', async () => {
    const { world } = await run()
    const { figures, world: without } = await run({ originDiesMs: world.originLastMs + 1 })
    assert.equal(figures.unfinished, 0)
    assertEverybodyElseHasAll(without)
  })

  it('may lose hosts when it holds a share of what it wants, and its origin when that has sent everything once', async () => {
    const { world, figures } = await run({
      originStops: true,
      deaths: [
        { atShare: 0.3, host: 'rendezvous' },
        { atShare: 0.6, host: 'standby' },
      ],
    })
    assert.equal(world.peers.filter(({ alive }) => !alive).length, 2)
    assert.equal(world.originGone, true)
    assert.ok(figures.originCopies < 1.2)
    const { figures: calm } = await run({ originStops: true })
    assert.equal(calm.unfinished, 0)
  })

  it('of several zones imports a copy into each', async () => {
    const { figures } = await run({ hosts: 24, zones: 3, originMbit: 60 })
    assert.equal(figures.unfinished, 0)
    assert.ok(figures.originCopies > 2.9 && figures.originCopies < 3.2, `${figures.originCopies}`)
  })

  it('is hardly slower for a host with a tenth of the bandwidth', async () => {
    const crowd = { hosts: 8, mib: 24 }
    const [{ figures }, { figures: without }] = [await run({ ...crowd, slow: [{ host: 3, mbit: 2 }] }), await run(crowd)]
    assert.ok(figures.ratio < 1.25 * without.ratio, `${figures.ratio} and ${without.ratio}`)
  })

  it('asks second holders for what is late, and hardly anything comes twice', async () => {
    const { world, figures } = await run({ hosts: 30, slow: [{ host: 3, mbit: 2 }] })
    assert.ok((world.messages.get('second') ?? 0) > 0)
    assert.ok(figures.wastedShare < 0.02, `${figures.wastedShare}`)
  })

  it('looks after its importers, which costs the origin a few pieces', async () => {
    const { world, figures } = await run({ hosts: 8, mib: 120 })
    const looks = world.messages.get('look') ?? 0
    assert.ok(looks > 0 && looks < 16, `${looks}`)
    assert.ok(figures.originCopies < 1.1, `${figures.originCopies}`)
  })

  it('of which the origin dies early never ends, and is given up', async () => {
    const { figures } = await run({ hosts: 3, originDiesMs: 1_000, longestMs: 60_000 })
    assert.equal(figures.unfinished, 3)
  })

  it('has the bound of what hosts have, a slow one left out', async () => {
    const { figures } = await run({ slow: [{ host: 3, mbit: 2 }] })
    const { figures: without } = await run()
    assert.equal(figures.boundS, without.boundS)
  })
})

function sum(values: Float64Array): number {
  return values.reduce((total, value) => total + value, 0)
}

/** Fractions of a byte add up. */
function assertClose(actual: number, expected: number): void {
  assert.ok(Math.abs(actual - expected) < 64, `${actual} is not ${expected}`)
}
