import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { Bitfield } from '../../protocols/bitfield.ts'
import { loadOf } from '../../src/transfer/load.ts'
import { pickPieces, type Source } from '../../src/transfer/pick.ts'

const PIECE = 256 * 1024

test('what a reader needs next is asked for first, in its order', () => {
  const picks = pickPieces(want([0, 1, 2, 3, 4, 5], { urgent: [3, 4] }), [source('a', [0, 1, 2, 3, 4, 5])], Math.random)
  assert.deepEqual(
    picks.slice(0, 2).map((p) => p.index),
    [3, 4],
  )
})

test('beyond that, the piece that fewest hold goes first', () => {
  const busy = { pieces: 4, roomBytes: 0, outstandingBytes: PIECE }
  const sources = [source('a', [0, 1, 2], { pieces: 4 }), source('b', [0, 1], busy), source('c', [0], busy)]
  const picks = pickPieces(want([0, 1, 2]), sources, Math.random)
  assert.deepEqual(
    picks.map((p) => p.index),
    [2, 1, 0],
  )
})

test('ties between equally rare pieces are broken at random, so that a crowd does not move in lockstep', () => {
  const all = Array.from({ length: 32 }, (_, i) => i)
  const partial = [source('a', all, { pieces: 33 }), source('b', all, { pieces: 33 })]
  const firsts = new Set(Array.from({ length: 60 }, () => pickPieces(want(all), partial, Math.random)[0]?.index))
  assert.ok(firsts.size > 5, `only ${firsts.size} different first picks`)
})

test('each piece is asked of the useful source with the least outstanding', () => {
  const sources = [source('busy', [0, 1], { outstandingBytes: 4 * PIECE }), source('idle', [0, 1])]
  const picks = pickPieces(want([0, 1]), sources, Math.random)
  assert.deepEqual(
    picks.map((p) => p.peerId),
    ['idle', 'idle'],
  )
})

test('the least loaded neighbour is asked for what it has, and not a busy one for what is rarer', () => {
  const sources = [source('busy', [0, 1], { pieces: 3, outstandingBytes: PIECE }), source('idle', [1], { pieces: 3 })]
  assert.deepEqual(pickPieces(want([0, 1], { roomBytes: PIECE }), sources, Math.random), [{ peerId: 'idle', index: 1 }])
})

test('of two that are drawn, the one that says it is less busy is asked', () => {
  const sources = [{ ...source('busy', [0]), load: 200 }, source('idle', [0])]
  const asked = Array.from({ length: 200 }, () => pickPieces(want([0]), sources, Math.random)[0]?.peerId)
  const idle = asked.filter((peerId) => peerId === 'idle').length
  assert.ok(idle > 120 && idle < 180, `${idle} of 200`)
})

test('who has next to nothing to do is asked by twice as many as a busy holder, and the rest wait for their turn', () => {
  const askers = 24
  const asking = (load: number) =>
    Array.from({ length: askers }, (_, self) => {
      const rivals = Array.from({ length: askers }, (_, seed) => ({ seed, have: undefined })).filter(({ seed }) => seed !== self)
      return pickPieces({ ...want([0]), turns: { self, rivals } }, [{ ...source('a', [0], { pieces: 2 }), load }], Math.random)
    }).filter((picks) => picks.length === 1).length
  assert.deepEqual([asking(100), asking(loadOf(2 * PIECE)), asking(loadOf(PIECE)), asking(0)], [3, 3, 6, 6])
})

test('what is asked for out of turn is asked of the idle holder, not of a busy one', () => {
  const rivals = Array.from({ length: 24 }, (_, seed) => ({ seed, have: undefined }))
  const early = rivals.filter(({ seed: self }) => {
    const turns = { self, rivals: rivals.filter(({ seed }) => seed !== self) }
    const sources = [{ ...source('busy', [0], { pieces: 2 }), load: 100 }, source('idle', [0], { pieces: 2 })]
    const asked = new Set(Array.from({ length: 40 }, () => pickPieces({ ...want([0]), turns }, sources, Math.random)[0]?.peerId))
    return asked.has('idle') && !asked.has('busy')
  })
  assert.equal(early.length, 3)
})

test('a piece larger than a source’s allowance is still asked of it when nothing else is outstanding', () => {
  const picks = pickPieces(
    want([0, 1], { pieceBytes: 16 * PIECE, roomBytes: 64 * PIECE }),
    [source('a', [0, 1], { roomBytes: PIECE })],
    Math.random,
  )
  assert.equal(picks.length, 1)
})

test('for any situation: no piece twice, only from who holds it, and no more than there is room for', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ have: fc.uniqueArray(fc.nat(63)), room: fc.nat(8), outstanding: fc.nat(4) }), { maxLength: 6 }),
      fc.uniqueArray(fc.nat(63)),
      fc.nat(20),
      fc.infiniteStream(fc.double({ min: 0, max: 0.999, noNaN: true })),
      (peers, missing, room, random) => {
        const sources = peers.map((p, i) =>
          source(`p${i}`, p.have, { pieces: 64, roomBytes: p.room * PIECE, outstandingBytes: p.outstanding * PIECE }),
        )
        const picks = pickPieces(want(missing, { roomBytes: room * PIECE }), sources, () => random.next().value as number)
        assert.equal(new Set(picks.map((p) => p.index)).size, picks.length)
        assert.ok(picks.length <= room)
        for (const { peerId, index } of picks) {
          assert.ok(missing.includes(index))
          assert.ok(sources.find((s) => s.peerId === peerId)?.have.has(index))
        }
        for (const s of sources) {
          const asked = picks.filter((p) => p.peerId === s.peerId).length * PIECE
          assert.ok(asked <= Math.max(s.roomBytes, s.outstandingBytes === 0 ? PIECE : 0))
        }
      },
    ),
  )
})

function want(missing: number[], options: { urgent?: number[]; pieceBytes?: number; roomBytes?: number } = {}) {
  return { missing, urgent: [], pieceBytes: PIECE, roomBytes: 1000 * PIECE, ...options }
}

function source(
  peerId: string,
  held: number[],
  options: { pieces?: number; roomBytes?: number; outstandingBytes?: number } = {},
): Source {
  const have = new Bitfield(options.pieces ?? Math.max(...held, 0) + 1)
  for (const index of held) have.add(index)
  return { peerId, have, roomBytes: options.roomBytes ?? 1000 * PIECE, outstandingBytes: options.outstandingBytes ?? 0, load: 0 }
}
