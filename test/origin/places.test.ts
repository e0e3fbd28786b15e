import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Leave, Places } from '../../src/origin/places.ts'

const NEVER = { signal: new AbortController().signal }

test('so many at a time, and the next in the order of coming', async () => {
  const places = new Places(2)
  const order: number[] = []
  const leaves: Leave[] = []
  const all = Array.from({ length: 5 }, async (_, i) => {
    leaves[i] = await places.take(NEVER)
    order.push(i)
  })
  await Promise.all(all.slice(0, 2))
  assert.deepEqual([order, places.waiting], [[0, 1], 3])
  leaves[1]?.()
  leaves[1]?.()
  await all[2]
  assert.deepEqual([order, places.waiting], [[0, 1, 2], 2])
  leaves[0]?.()
  leaves[2]?.()
  await Promise.all(all)
  assert.deepEqual(order, [0, 1, 2, 3, 4])
})

test('who stops waiting gets the reason of its signal, and takes nobody’s place', async () => {
  const places = new Places(1)
  const leave = await places.take(NEVER)
  const abort = new AbortController()
  const reason = new Error('not any more')
  const gone = places.take({ signal: abort.signal })
  const next = places.take(NEVER)
  abort.abort(reason)
  await assert.rejects(gone, reason)
  leave()
  await next
  await assert.rejects(places.take({ signal: abort.signal }), reason)
})
