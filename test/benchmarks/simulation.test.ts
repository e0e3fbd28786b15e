import assert from 'node:assert/strict'
import { test } from 'node:test'
import { figuresOf } from '../../benchmarks/simulation/figures.ts'
import { DEFAULTS, type Scenario } from '../../benchmarks/simulation/scenario.ts'
import { simulate } from '../../benchmarks/simulation/simulate.ts'

const SMALL: Scenario = { ...DEFAULTS, hosts: 8, mbit: 20, originMbit: 20, mib: 8 }

test('a simulated crowd ends with all hosts complete, about one copy from the origin, and no sooner than arithmetic allows', async () => {
  const figures = figuresOf(await simulate(SMALL))
  assert.equal(figures.unfinished, 0)
  assert.ok(figures.ratio >= 1, `${figures.ratio}`)
  assert.ok(figures.originCopies >= 1 && figures.originCopies < 1.1, `${figures.originCopies}`)
})

test('a seed gives the same crowd again, and another seed another', async () => {
  const [one, again, other] = [await simulate(SMALL), await simulate(SMALL), await simulate({ ...SMALL, seed: 2 })].map(figuresOf)
  assert.deepEqual(one, again)
  assert.notDeepEqual(one, other)
})

test('a crowd whose rendezvous dies completes', async () => {
  const figures = figuresOf(await simulate({ ...SMALL, deaths: [{ atMs: 2_000, host: 'rendezvous' }] }))
  assert.equal(figures.unfinished, 0)
})
