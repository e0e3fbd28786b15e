import assert from 'node:assert/strict'
import { test } from 'node:test'
import { RateLimit } from '../../src/rate-limit.ts'
import { VirtualClock } from '../discovery/virtual-clock.ts'
import { settled, until } from '../helpers/until.ts'
import { content, createWorld, PIECE } from './rig.ts'

test('peers are asked for no more than the node may receive, and the download goes on as more is allowed', async (t) => {
  const clock = new VirtualClock()
  const downloadLimit = new RateLimit({ bytesPerSecond: 4 * PIECE, burstBytes: 3 * PIECE, clock })
  const { bytes, digest } = content(12 * PIECE)
  const world = createWorld(t)
  const peers = await Promise.all([0, 1, 2].map(() => world.peer({ digest, bytes })))
  const node = await world.node({ downloadLimit })
  const asked = () => peers.reduce((sum, { reads }) => sum + reads.length, 0)
  const served = () => peers.reduce((sum, { transfer }) => sum + transfer.servedBytes, 0)
  const reading = node.read(digest)
  await until('the burst has come', () => served() >= 2 * PIECE)
  const atOnce = await settled(served)
  // the first piece is asked for before the size is known, and paid for afterwards
  assert.ok(atOnce <= 4 * PIECE, `${atOnce / PIECE} pieces at once`)
  assert.ok(asked() <= 4)
  let passedMs = 0
  let done = false
  void reading.then(() => {
    done = true
  })
  while (!done) {
    await clock.advance(250)
    passedMs += 250
    const now = await settled(served, 30)
    assert.ok(now <= 4 * PIECE + (passedMs / 1000) * 4 * PIECE, `${now / PIECE} pieces after ${passedMs} ms`)
  }
  assert.ok((await reading).equals(bytes))
  assert.ok(passedMs >= 2_000 && passedMs <= 3_500, `${passedMs} ms`)
  assert.equal(clock.pending, 0)
})

test('a download whose turn is long in coming does not fail for it', async (t) => {
  const clock = new VirtualClock()
  const downloadLimit = new RateLimit({ bytesPerSecond: PIECE, clock })
  const { bytes, digest } = content(3 * PIECE)
  const world = createWorld(t)
  await world.peer({ digest, bytes })
  const node = await world.node({ downloadLimit })
  downloadLimit.owe(100 * PIECE)
  const reading = node.read(digest)
  await clock.advance(60_000)
  await clock.advance(50_000)
  assert.ok((await reading).equals(bytes))
})
