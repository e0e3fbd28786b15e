import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Demand } from '../../src/download/demand.ts'

const nothing = () => false

test('nothing is fetched that no reader wants', () => {
  const demand = new Demand(10)
  assert.deepEqual(demand.missing(nothing), [])
  const reading = demand.add(2, 4)
  assert.deepEqual(demand.missing(nothing), [2, 3, 4])
  demand.delete(reading)
  assert.deepEqual(demand.missing(nothing), [])
})

test('whoever wants the last piece wants the whole, because the digest is verified before it is shown', () => {
  const demand = new Demand(10)
  demand.add(8, 9)
  assert.equal(demand.missing(nothing).length, 10)
})

test('a reader that has moved on does not want what it has read', () => {
  const demand = new Demand(10)
  const reading = demand.add(0, 5)
  reading.next = 4
  assert.deepEqual(demand.missing(nothing), [4, 5])
})

test('urgent are the next pieces of each reader, nearest first, without those taken', () => {
  const demand = new Demand(100)
  demand.add(0, 50)
  demand.add(80, 90)
  assert.deepEqual(
    demand.urgent((index) => index === 0, 3),
    [80, 1, 81, 2, 82],
  )
})
