import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Starvation } from '../../src/rendezvous/starvation.ts'

test('a member starves when for longer than its patience no fewer pieces are missing', () => {
  const starvation = new Starvation(1_000)
  assert.equal(starvation.waiting(9, 0), false)
  assert.equal(starvation.waiting(8, 900), false)
  assert.equal(starvation.waiting(9, 1_800), false)
  assert.equal(starvation.waiting(8, 1_901), true)
  starvation.fed()
  assert.equal(starvation.waiting(8, 1_902), false)
})

test('to learn how many pieces are missing is not to starve', () => {
  const starvation = new Starvation(1_000)
  assert.equal(starvation.waiting(undefined, 0), false)
  assert.equal(starvation.waiting(96, 900), false)
  assert.equal(starvation.waiting(95, 1_800), false)
  assert.equal(starvation.waiting(95, 2_801), true)
})
