import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { MAX_PIECE_BYTES, PIECE_SIZES } from '../../protocols/pieces.ts'
import { allowedBytes, Downlink } from '../../src/transfer/downlink.ts'
import { SLACK_MS } from '../../src/transfer/pace.ts'

const KiB = 1024
const MiB = 1024 * KiB
const PIECE = 256 * KiB
const pieceSizes = fc.constantFrom(...PIECE_SIZES.map(({ pieceBytes }) => pieceBytes))
const rates = fc.double({ min: 0, max: 1e11, noNaN: true })
const delays = fc.double({ min: 0, max: 2_000, noNaN: true })
/** What is asked for before anything is measured. */
const few = (pieceBytes: number) => allowedBytes(pieceBytes, undefined, 0)

test('a few pieces are asked for before anything is measured, and fewer when they turn out to be slow', () => {
  assert.ok(few(PIECE) >= 4 * PIECE && few(PIECE) <= 12 * PIECE, `${few(PIECE) / PIECE} pieces`)
  const slow = allowedBytes(PIECE, 500 * KiB, 30)
  assert.ok(slow >= 2 * PIECE && slow < 3 * PIECE, `${slow / PIECE} pieces on a slow link`)
  // whatever the link, the next piece is asked for before the last has come
  assert.ok(allowedBytes(PIECE, 1, 1) >= 2 * PIECE)
})

test('a fast link has two of its bandwidth-delay products more', () => {
  const rate = 50 * MiB
  for (const delayMs of [1, 30, 100])
    assert.equal(allowedBytes(PIECE, rate, delayMs), few(PIECE) + (2 * rate * (delayMs + SLACK_MS)) / 1_000)
})

test('more is asked for the faster and the longer the link, but never more than memory has room for, nor less than a piece', () => {
  const most = allowedBytes(PIECE, 1e12, 1_000)
  assert.ok(most <= 2 * MAX_PIECE_BYTES, `${most}`)
  fc.assert(
    fc.property(pieceSizes, rates, rates, delays, delays, (pieceBytes, rate, otherRate, delay, otherDelay) => {
      const less = allowedBytes(pieceBytes, Math.min(rate, otherRate), Math.min(delay, otherDelay))
      const more = allowedBytes(pieceBytes, Math.max(rate, otherRate), Math.max(delay, otherDelay))
      assert.ok(less <= more)
      assert.ok(less >= pieceBytes && more <= most)
    }),
  )
})

test('what is outstanding leaves less room, whoever it is asked of, until it has come or failed', () => {
  const downlink = new Downlink()
  const room = () => downlink.roomBytes(PIECE, 30)
  assert.equal(room(), few(PIECE))
  downlink.asked(PIECE, 0)
  downlink.asked(PIECE, 1)
  assert.equal(room(), few(PIECE) - 2 * PIECE)
  assert.equal(downlink.outstandingBytes, 2 * PIECE)
  downlink.settled(PIECE)
  downlink.settled(PIECE)
  assert.equal(room(), few(PIECE))
})

test('the rate is that of the time in which something was outstanding', () => {
  const downlink = new Downlink()
  assert.equal(downlink.bytesPerSecond, undefined)
  for (const now of [0, 60_000]) {
    downlink.asked(MiB, now)
    downlink.arrived(MiB / 2, now + 50)
    downlink.arrived(MiB / 2, now + 100)
    downlink.settled(MiB)
  }
  assert.equal(Math.round((downlink.bytesPerSecond ?? 0) / MiB), 10)
  assert.equal(downlink.roomBytes(PIECE, 30), allowedBytes(PIECE, downlink.bytesPerSecond, 30))
})
