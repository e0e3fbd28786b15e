import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { DEFAULT_LIMITS } from '../../src/transfer/limits.ts'
import { type Slot, Slots } from '../../src/transfer/slots.ts'

const LIMITS = { ...DEFAULT_LIMITS, slots: 2, maxSlots: 4, staleMs: 500 }

function setUp() {
  const clock = { now: 0 }
  const slots = new Slots(LIMITS, () => clock.now)
  const granted: string[] = []
  const held = new Map<string, Slot>()
  const evicted: string[] = []
  const take = (name: string) =>
    slots
      .take(() => evicted.push(name))
      .then((slot) => {
        granted.push(name)
        held.set(name, slot)
      })
  return { clock, slots, granted, held, evicted, take }
}

describe('slots', () => {
  it('are granted in the order asked, as many as there are', async () => {
    const { granted, held, take } = setUp()
    const all = ['a', 'b', 'c', 'd'].map(take)
    await all[1]
    assert.deepEqual(granted, ['a', 'b'])
    held.get('b')?.release()
    await all[2]
    held.get('a')?.release()
    await all[3]
    assert.deepEqual(granted, ['a', 'b', 'c', 'd'])
  })

  it('are released once, however often', async () => {
    const { slots, held, take } = setUp()
    await take('a')
    await take('b')
    held.get('a')?.release()
    held.get('a')?.release()
    assert.equal(slots.held, 1)
  })

  it('held by peers that take nothing do not stop the others', async () => {
    const { clock, slots, granted, take } = setUp()
    const all = ['stuck', 'stuck too', 'c', 'd'].map(take)
    await all[1]
    clock.now = 501
    slots.poll()
    await all[3]
    assert.deepEqual(granted, ['stuck', 'stuck too', 'c', 'd'])
  })

  it('count again when their peer goes on', async () => {
    const { clock, slots, granted, held, take } = setUp()
    await take('slow')
    await take('b')
    clock.now = 501
    held.get('slow')?.touch()
    const all = ['c', 'd'].map(take)
    await all[0]
    slots.poll()
    assert.deepEqual(granted, ['slow', 'b', 'c'])
  })

  it('are taken from the stalest peer when memory is at its bound', async () => {
    const { clock, slots, granted, held, evicted, take } = setUp()
    const all: Promise<void>[] = []
    for (const name of ['a', 'b', 'c', 'd']) {
      all.push(take(name))
      clock.now += 300
      slots.poll()
      clock.now += 300
      slots.poll()
    }
    await Promise.all(all)
    assert.deepEqual(granted, ['a', 'b', 'c', 'd'])
    clock.now += 501
    const fifth = take('e')
    assert.deepEqual(evicted, ['a'])
    held.get('a')?.release()
    await fifth
    assert.equal(slots.held, 4)
  })
})
