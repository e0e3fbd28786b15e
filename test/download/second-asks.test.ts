import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { type Second, secondAsks, type Underway } from '../../src/download/second-asks.ts'
import { Spare } from '../../src/download/spare.ts'

const PIECE = 256 * 1024
const MBIT = 1_000_000 / 8

const BORED = { endgame: true, urgent: [], spareBytes: PIECE }

/** A piece that `from` was expected to bring in 400 ms, and has not after 1,000. */
function late(over: Partial<Underway> = {}): Underway {
  return {
    index: 0,
    from: 'first',
    lengthBytes: PIECE,
    receivedBytes: 0,
    elapsedMs: 1_000,
    expectedMs: 400,
    silent: false,
    ...over,
  }
}

/** A holder of everything on a link of so many Mbit/s. */
function holder(peerId: string, over: Partial<Second> & { mbit?: number } = {}): Second {
  const { mbit = 20, outstandingBytes = 0 } = over
  const expectedMs = (bytes: number) => 10 + ((outstandingBytes + bytes) * 1_000) / (mbit * MBIT)
  return { peerId, roomBytes: 8 * PIECE, outstandingBytes, load: 0, offers: () => true, expectedMs, ...over }
}

describe('a piece that is late', () => {
  it('is asked of a second holder when nothing else is left to ask', () => {
    assert.deepEqual(secondAsks([late()], [holder('second')], BORED), [{ peerId: 'second', index: 0, spareBytes: PIECE }])
    assert.deepEqual(secondAsks([late()], [holder('second')], { ...BORED, endgame: false }), [])
  })

  it('is asked of a second holder when a reader needs it next, whatever else there is to ask', () => {
    const options = { ...BORED, endgame: false, urgent: [0] }
    assert.equal(secondAsks([late(), late({ index: 1 })], [holder('second')], options).length, 1)
  })

  it('is late by what its peer was expected to take, not by the clock', () => {
    for (const [elapsedMs, expectedMs] of [
      [500, 400],
      [900, 800],
      [80, 10],
    ] as const)
      assert.deepEqual(secondAsks([late({ elapsedMs, expectedMs })], [holder('second', { mbit: 1_000 })], BORED), [])
    const slow = late({ elapsedMs: 100, expectedMs: 5_000 })
    assert.equal(secondAsks([slow], [holder('second')], BORED).length, 1, 'that it will be late is known before it is')
    assert.deepEqual(secondAsks([late({ expectedMs: undefined })], [holder('second')], BORED), [])
  })

  it('is left to its peer when nobody would be done sooner', () => {
    assert.deepEqual(secondAsks([late()], [holder('slow', { mbit: 1 })], BORED), [])
    assert.deepEqual(secondAsks([late()], [holder('queued', { outstandingBytes: 8 * PIECE })], BORED), [])
    assert.deepEqual(secondAsks([late({ receivedBytes: PIECE - 1_000 })], [holder('second')], BORED), [])
  })

  it('is never asked of the same peer again, of one without room, or of one that lacks it', () => {
    const seconds = [holder('first'), holder('full', { roomBytes: 0 }), holder('lacks', { offers: (index) => index !== 0 })]
    assert.deepEqual(secondAsks([late()], seconds, BORED), [])
  })

  it('goes to the holder that should bring it first', () => {
    const seconds = [holder('a'), holder('b', { mbit: 40 }), holder('c', { mbit: 40, outstandingBytes: PIECE })]
    assert.equal(secondAsks([late()], seconds, BORED)[0]?.peerId, 'b')
    const equals = [holder('busy', { load: 200 }), holder('idle')]
    assert.equal(secondAsks([late()], equals, BORED)[0]?.peerId, 'idle')
  })
})

describe('several late pieces', () => {
  it('come within what may come twice: what a reader needs first, then the latest', () => {
    const pieces = [late({ index: 0, elapsedMs: 900 }), late({ index: 1, elapsedMs: 1_500 }), late({ index: 2, elapsedMs: 700 })]
    const seconds = [holder('a', { mbit: 40 })]
    const indices = (options: object) => secondAsks(pieces, seconds, { ...BORED, ...options }).map(({ index }) => index)
    assert.deepEqual(indices({}), [1])
    assert.deepEqual(indices({ urgent: [2] }), [2])
    assert.deepEqual(indices({ spareBytes: 2 * PIECE }), [1, 0])
    assert.deepEqual(indices({ spareBytes: PIECE - 1 }), [])
  })

  it('are shared out: what one was just asked for counts', () => {
    const pieces = [late({ index: 0 }), late({ index: 1 })]
    const asks = secondAsks(pieces, [holder('a'), holder('b', { mbit: 19 })], { ...BORED, spareBytes: 2 * PIECE })
    assert.deepEqual(asks.map(({ peerId }) => peerId).sort(), ['a', 'b'])
  })
})

describe('a piece of a silent peer', () => {
  it('is asked of another at any time, and costs nothing', () => {
    const silent = late({ silent: true, expectedMs: undefined })
    const options = { endgame: false, urgent: [], spareBytes: 0 }
    assert.deepEqual(secondAsks([silent], [holder('second', { mbit: 0.1 })], options), [
      { peerId: 'second', index: 0, spareBytes: 0 },
    ])
  })

  it('is asked of a peer that has come to hold it, when it is the origin that hangs', () => {
    const hanging = late({ from: 'origin', silent: true, expectedMs: undefined })
    assert.equal(secondAsks([hanging], [holder('second')], BORED).length, 1)
  })
})

describe('what may come twice', () => {
  it('is a hundredth of what came, and a piece that is ventured before it is earned', () => {
    const spare = new Spare()
    assert.equal(spare.room(PIECE), PIECE)
    spare.venture(PIECE)
    assert.equal(spare.room(PIECE), 0)
    spare.settle(PIECE, 0)
    assert.equal(spare.room(PIECE), PIECE, 'the one that was called off had sent nothing')
    spare.venture(PIECE)
    spare.settle(PIECE, PIECE)
    assert.equal(spare.room(PIECE), 0)
    for (let i = 0; i < 100; i++) spare.earn(PIECE)
    assert.ok(Math.abs(spare.room(PIECE) - PIECE) < 1)
  })

  it('stays below a hundredth and a piece, whatever is late and whoever wins', () => {
    const event = fc.record({ lost: fc.boolean(), came: fc.nat(20), late: fc.integer({ min: 1, max: 6 }) })
    fc.assert(
      fc.property(fc.array(event, { maxLength: 60 }), (events) => {
        const spare = new Spare()
        let [came, twice] = [0, 0]
        for (const { lost, came: pieces, late: count } of events) {
          came += pieces * PIECE
          spare.earn(pieces * PIECE)
          const underway = Array.from({ length: count }, (_, index) => late({ index }))
          const asks = secondAsks(underway, [holder('a', { mbit: 100 })], { ...BORED, spareBytes: spare.room(PIECE) })
          for (const { spareBytes } of asks) spare.venture(spareBytes)
          for (const { spareBytes } of asks) {
            spare.settle(spareBytes, lost ? spareBytes : 0)
            if (lost) twice += spareBytes
          }
          assert.ok(twice <= came / 100 + PIECE)
        }
      }),
      { numRuns: 200 },
    )
  })
})
