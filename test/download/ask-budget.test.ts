import assert from 'node:assert/strict'
import { test } from 'node:test'
import { AskBudget } from '../../src/download/ask-budget.ts'
import { RateLimit } from '../../src/rate-limit.ts'
import { VirtualClock } from '../discovery/virtual-clock.ts'

const PIECE = 1_000

function budget(limit: RateLimit | undefined) {
  const turns = { count: 0 }
  return { turns, budget: new AskBudget(limit, () => turns.count++) }
}

test('without a limit everything may be asked for', () => {
  const { budget: free } = budget(undefined)
  assert.equal(free.room(7 * PIECE, PIECE), 7 * PIECE)
  free.spend(100 * PIECE)
  free.giveBack(PIECE)
  assert.equal(free.room(7 * PIECE, PIECE), 7 * PIECE)
  assert.equal(free.waiting, false)
})

test('no more is asked for than the limit lets in, and the download is told when it may go on', async () => {
  const clock = new VirtualClock()
  const { turns, budget: own } = budget(new RateLimit({ bytesPerSecond: 10 * PIECE, burstBytes: 3 * PIECE, clock }))
  assert.equal(own.room(8 * PIECE, PIECE), 3 * PIECE)
  own.spend(3 * PIECE)
  assert.equal(own.room(8 * PIECE, PIECE), 0)
  assert.equal(own.waiting, true)
  await clock.advance(101)
  assert.deepEqual([turns.count, own.waiting], [1, false])
  assert.equal(own.room(8 * PIECE, PIECE), PIECE)
})

test('downloads take turns, a piece at a time, however much each wants', async () => {
  const clock = new VirtualClock()
  const limit = new RateLimit({ bytesPerSecond: 10 * PIECE, burstBytes: PIECE, clock })
  const asked = [0, 0, 0]
  const budgets = asked.map((_, i) => {
    const pump = () => {
      const room = own.room(50 * PIECE, PIECE)
      own.spend(room)
      asked[i] = (asked[i] as number) + room
      if (room > 0) pump()
    }
    const own: AskBudget = new AskBudget(limit, pump)
    return { own, pump }
  })
  for (const { pump } of budgets) pump()
  await clock.advance(6_000)
  const total = asked.reduce((sum, bytes) => sum + bytes)
  assert.ok(total >= 59 * PIECE && total <= 62 * PIECE, `${total}`)
  assert.ok(Math.max(...asked) - Math.min(...asked) <= PIECE, `${asked}`)
  for (const { own } of budgets) own[Symbol.dispose]()
  assert.equal(clock.pending, 0)
})

test('what was not used when a download ends is there for the others', async () => {
  const clock = new VirtualClock()
  const limit = new RateLimit({ bytesPerSecond: 1, burstBytes: 2 * PIECE, clock })
  const [first, second] = [budget(limit).budget, budget(limit).budget]
  assert.equal(first.room(2 * PIECE, PIECE), 2 * PIECE)
  assert.equal(second.room(2 * PIECE, PIECE), 0)
  first.spend(PIECE)
  first.giveBack(400)
  first[Symbol.dispose]()
  await clock.advance(0)
  assert.equal(second.room(2 * PIECE, PIECE), PIECE)
  assert.deepEqual([limit.ready(400), limit.ready(401)], [true, false])
  second[Symbol.dispose]()
  assert.equal(limit.ready(1_400), true)
  assert.equal(first.room(PIECE, PIECE), 0)
})

test('what is asked for beyond the budget is paid for by what comes after', () => {
  const clock = new VirtualClock()
  const limit = new RateLimit({ bytesPerSecond: PIECE, burstBytes: PIECE, clock })
  const { budget: own } = budget(limit)
  own.spend(PIECE)
  assert.equal(own.room(PIECE, PIECE), 0)
})
