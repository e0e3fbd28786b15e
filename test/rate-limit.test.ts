import assert from 'node:assert/strict'
import { test } from 'node:test'
import { limitOf, RateLimit } from '../src/rate-limit.ts'
import { seeded, VirtualClock } from './discovery/virtual-clock.ts'

const NEVER = { signal: new AbortController().signal }

function limited(bytesPerSecond: number, burstBytes?: number) {
  const clock = new VirtualClock()
  const limit = new RateLimit({ bytesPerSecond, clock, ...(burstBytes === undefined ? {} : { burstBytes }) })
  return { clock, limit }
}

test('what the burst holds passes at once, and the rest at the rate', async () => {
  const { clock, limit } = limited(1_000, 100)
  assert.equal(limit.take(100, NEVER), undefined)
  let passed = 0
  const start = clock.now()
  for (let i = 0; i < 20; i++) void limit.take(100, NEVER)?.then(() => passed++)
  await clock.until('all have passed', () => passed === 20)
  assert.ok(clock.now() - start >= 2_000 && clock.now() - start <= 2_050, `${clock.now() - start} ms`)
})

test('a tenth of a second is the burst when none is given', () => {
  const { limit } = limited(1_000)
  assert.equal(limit.ready(100), true)
  assert.equal(limit.take(100, NEVER), undefined)
  assert.equal(limit.ready(1), false)
})

test('everybody is served in the order of coming, large and small alike', async () => {
  const { clock, limit } = limited(1_000, 100)
  limit.take(100, NEVER)
  const order: string[] = []
  for (const [name, bytes] of [
    ['a', 900],
    ['b', 1],
    ['c', 500],
    ['d', 1],
  ] as const)
    void limit.take(bytes, NEVER)?.then(() => order.push(name))
  assert.equal(limit.ready(1), false)
  await clock.advance(5_000)
  assert.deepEqual(order, ['a', 'b', 'c', 'd'])
  assert.equal(limit.waiting, 0)
  assert.equal(clock.pending, 0)
})

test('many who take as fast as they can get equal shares, and together the rate', async () => {
  const { clock, limit } = limited(100_000, 1_000)
  const random = seeded(7)
  const got = new Array<number>(8).fill(0)
  const abort = new AbortController()
  const run = async (who: number) => {
    for (;;) {
      await limit.take(500, { signal: abort.signal })
      got[who] = (got[who] as number) + 500
      if (random() < 0.1) await Promise.resolve()
    }
  }
  const all = got.map((_, who) => run(who).catch(() => {}))
  await clock.advance(10_000)
  abort.abort()
  await Promise.all(all)
  const total = got.reduce((sum, bytes) => sum + bytes)
  assert.ok(total >= 990_000 && total <= 1_002_000, `${total} bytes in ten seconds`)
  assert.ok(Math.max(...got) - Math.min(...got) <= 1_000, `${got}`)
})

test('who stops waiting gets the reason of its signal, and those behind it move up', async () => {
  const { clock, limit } = limited(1_000, 100)
  limit.take(100, NEVER)
  const abort = new AbortController()
  const reason = new Error('not any more')
  const large = limit.take(100_000, { signal: abort.signal })
  let passed = false
  void limit.take(100, NEVER)?.then(() => {
    passed = true
  })
  abort.abort(reason)
  await assert.rejects(Promise.resolve(large), reason)
  await clock.advance(100)
  assert.equal(passed, true)
  assert.throws(() => limit.take(1, { signal: abort.signal }), reason)
})

test('bytes that pass unasked are paid for by the next, and bytes given back are there for them', async () => {
  const { clock, limit } = limited(1_000, 100)
  limit.owe(1_100)
  let passed = false
  void limit.take(1, NEVER)?.then(() => {
    passed = true
  })
  await clock.advance(990)
  assert.equal(passed, false)
  limit.giveBack(1_000)
  await clock.advance(0)
  assert.equal(passed, true)
})

test('a rate that is off is no limit', () => {
  assert.equal(limitOf(undefined), undefined)
  assert.equal(limitOf(5)?.bytesPerSecond, 5)
})
