import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { DEFAULT_LIMITS } from '../../src/transfer/limits.ts'
import { Pace } from '../../src/transfer/pace.ts'

const MiB = 1024 * 1024

/** A peer that answers each request after `delayMs` and sends `bytesPerMs`, with `window` bytes kept outstanding. */
function exchange(pace: Pace, options: { delayMs: number; bytesPerMs: number; pieceBytes: number; pieces: number }): void {
  const { delayMs, bytesPerMs, pieceBytes, pieces } = options
  let now = 0
  let linkFreeAt = 0
  const open: { sentAt: number; idle: boolean }[] = []
  for (let done = 0; done < pieces; done++) {
    while (open.length === 0 || (open.length + 1) * pieceBytes <= pace.allowanceBytes(pieceBytes)) {
      open.push({ sentAt: now, idle: pace.sent(now) })
    }
    const { sentAt, idle } = open.shift() as { sentAt: number; idle: boolean }
    const startsAt = Math.max(sentAt + delayMs, linkFreeAt)
    pace.started(startsAt - sentAt, idle, startsAt)
    linkFreeAt = startsAt + pieceBytes / bytesPerMs
    now = linkFreeAt
    pace.ended(pieceBytes, now)
  }
}

describe('pace', () => {
  it('starts with a few pieces before anything is known', () => {
    const pace = new Pace(DEFAULT_LIMITS)
    assert.equal(pace.bytesPerSecond, undefined)
    assert.equal(pace.allowanceBytes(256 * 1024), DEFAULT_LIMITS.startOutstandingBytes)
    assert.equal(pace.patienceMs, DEFAULT_LIMITS.startPatienceMs)
  })

  it('allows two pieces of a mebibyte and one of any size', () => {
    const pace = new Pace(DEFAULT_LIMITS)
    exchange(pace, { delayMs: 1, bytesPerMs: 100, pieceBytes: MiB, pieces: 8 })
    assert.equal(pace.allowanceBytes(256 * 1024), MiB)
    assert.equal(pace.allowanceBytes(MiB), 2 * MiB)
    assert.equal(pace.allowanceBytes(16 * MiB), 16 * MiB)
  })

  it('opens up to two bandwidth-delay products on a long fast link, and no further than the bound', () => {
    const pace = new Pace(DEFAULT_LIMITS)
    exchange(pace, { delayMs: 20, bytesPerMs: 100_000, pieceBytes: 256 * 1024, pieces: 400 })
    const allowance = pace.allowanceBytes(256 * 1024)
    assert.ok(allowance > 2 * MiB, `${allowance}`)
    exchange(pace, { delayMs: 200, bytesPerMs: 200_000, pieceBytes: MiB, pieces: 400 })
    assert.ok(pace.allowanceBytes(256 * 1024) <= DEFAULT_LIMITS.maxOutstandingBytes)
  })

  it('does not take waiting behind its own requests for delay', () => {
    const pace = new Pace(DEFAULT_LIMITS)
    exchange(pace, { delayMs: 1, bytesPerMs: 6_250, pieceBytes: 256 * 1024, pieces: 200 })
    assert.equal(pace.allowanceBytes(256 * 1024), DEFAULT_LIMITS.minOutstandingBytes)
  })

  it('measures throughput over the time in which something was outstanding', () => {
    const pace = new Pace(DEFAULT_LIMITS)
    pace.sent(0)
    pace.ended(MiB, 100)
    pace.sent(10_000)
    pace.ended(MiB, 10_100)
    assert.equal(Math.round((pace.bytesPerSecond as number) / MiB), 10)
  })

  it('follows a link that becomes slower within about a second of work', () => {
    const pace = new Pace(DEFAULT_LIMITS)
    let now = 0
    for (let i = 0; i < 100; i++) {
      pace.sent(now)
      now += 10
      pace.ended(MiB, now)
    }
    for (let i = 0; i < 4; i++) {
      pace.sent(now)
      now += 1_000
      pace.ended(MiB, now)
    }
    assert.ok((pace.bytesPerSecond as number) < 5 * MiB)
  })

  it('is patient for as long as the peer was ever slow, within bounds', () => {
    const pace = new Pace(DEFAULT_LIMITS)
    for (let i = 0; i < 50; i++) pace.started(2, true, i)
    assert.equal(pace.patienceMs, DEFAULT_LIMITS.minPatienceMs)
    for (let i = 0; i < 50; i++) pace.started(i % 2 === 0 ? 500 : 1_500, false, i)
    assert.ok(pace.patienceMs > 2_000 && pace.patienceMs < 4_000, `${pace.patienceMs}`)
    for (let i = 0; i < 50; i++) pace.started(60_000, false, i)
    assert.equal(pace.patienceMs, DEFAULT_LIMITS.maxPatienceMs)
  })

  it('leaves a busy peer alone for twice as long each time, until it answers', () => {
    const pace = new Pace(DEFAULT_LIMITS)
    const half = () => 0.5
    const waits = [1, 2, 3].map(() => {
      pace.refused(1_000, half)
      return pace.busyUntil - 1_000
    })
    assert.deepEqual(waits, [50, 100, 200])
    for (let i = 0; i < 20; i++) pace.refused(1_000, half)
    assert.equal(pace.busyUntil, 3_000)
    pace.sent(1_000)
    pace.ended(10, 1_001)
    pace.refused(2_000, half)
    assert.equal(pace.busyUntil, 2_050)
  })
})
