import assert from 'node:assert/strict'
import { describe, it, test } from 'node:test'
import { Bitfield } from '../../protocols/bitfield.ts'
import { geometryOf, MIN_PIECE_BYTES } from '../../protocols/pieces.ts'
import type { Attempt, Incoming } from '../../src/download/incoming.ts'
import { Usable } from '../../src/download/usable.ts'
import type { Neighbour, Swarm } from '../../src/transfer/transfer.ts'

const geometry = geometryOf(4 * MIN_PIECE_BYTES)

/** A download that knows these peers, who say that they hold everything. */
function download(...peerIds: string[]) {
  const attempts = new Map<number, Attempt[]>()
  const caught = new Set<string>()
  const neighbours = peerIds.map((id) => ({
    peer: { id, addresses: [] },
    state: 'complete',
    size: geometry.size,
    have: Bitfield.full(geometry.pieces),
    patienceMs: 2_000,
    busyUntil: 0,
    allowanceBytes: 2 * MIN_PIECE_BYTES,
    outstandingBytes: 0,
    bytesPerSecond: undefined as number | undefined,
    load: 0,
  }))
  const usable = new Usable(
    { geometry, attempts, doubts: { caught } } as unknown as Incoming,
    { neighbours: () => neighbours as unknown as readonly Neighbour[] } as Swarm,
  )
  const ask = (index: number, from: string, now: number) =>
    attempts.set(index, [
      { from, begunAt: now, progressedAt: now, receivedBytes: 0, expectedMs: undefined, abort: new AbortController() },
    ])
  const giveUp = (index: number, from: string, now: number) => {
    usable.givenUp(from, now)
    attempts.delete(index)
  }
  const asked = (now: number) => usable.sources(now).map(({ peerId }) => peerId)
  return { usable, neighbours, caught, ask, giveUp, asked }
}

test('who was caught is asked for what others hold too, and what only it holds is to be imported', () => {
  const { usable, neighbours, caught } = download('liar', 'honest')
  const [liar, honest] = neighbours as unknown as [{ have: Bitfield }, { have: Bitfield }]
  honest.have = new Bitfield(geometry.pieces)
  honest.have.add(2)
  liar.have.delete(3)
  caught.add('liar')
  const held = usable.sources(0).map(({ peerId, have }) => [peerId, [0, 1, 2, 3].filter((index) => have.has(index))])
  assert.deepEqual(held, [
    ['liar', [2]],
    ['honest', [2]],
  ])
  assert.equal(usable.covers(1, 0), false)
  assert.equal(usable.covers(2, 0), true)
  assert.equal(usable.coverage(0).count, 1)
})

describe('a peer that says it has everything and gives nothing', () => {
  it('is left alone for longer each time, and what it says keeps nobody from importing', () => {
    const { usable, ask, giveUp, asked } = download('boaster')
    let now = 0
    for (const restMs of [2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
      assert.deepEqual(asked(now), ['boaster'])
      ask(0, 'boaster', now)
      now += 10_000
      giveUp(0, 'boaster', now)
      assert.deepEqual(asked(now + restMs - 1), [])
      now += restMs
      assert.equal(usable.coverage(now).count, 0)
      assert.equal(usable.covers(1, now), false)
    }
    usable.gives('boaster')
    assert.equal(usable.coverage(now).count, 4)
  })

  it('rests once, however many requests of it are given up together', () => {
    const { ask, giveUp, asked } = download('boaster', 'other')
    for (const index of [0, 1, 2]) ask(index, 'boaster', 0)
    for (const index of [0, 1, 2]) giveUp(index, 'boaster', 10_000)
    assert.deepEqual(asked(11_999), ['other'])
    assert.deepEqual(asked(12_000), ['boaster', 'other'])
  })
})

it('a peer that was called off because another was quicker is asked again at once', () => {
  const { usable, ask, giveUp, asked } = download('slow')
  ask(0, 'slow', 0)
  giveUp(0, 'slow', 3_000)
  assert.deepEqual(asked(3_000), ['slow'])
  assert.equal(usable.coverage(3_000).count, 4)
})

it('how long a peer should take follows from how fast it was and what it owes already', () => {
  const { usable, neighbours } = download('a')
  const [a] = neighbours as [(typeof neighbours)[0]]
  assert.equal(usable.expectedMs('a', MIN_PIECE_BYTES), undefined)
  assert.equal(usable.seconds(0)[0]?.expectedMs(MIN_PIECE_BYTES), a.patienceMs, 'who knows')
  a.bytesPerSecond = MIN_PIECE_BYTES
  a.outstandingBytes = MIN_PIECE_BYTES
  assert.equal(usable.expectedMs('a', MIN_PIECE_BYTES), 2_010)
  assert.equal(usable.expectedMs('stranger', MIN_PIECE_BYTES), undefined)
})
