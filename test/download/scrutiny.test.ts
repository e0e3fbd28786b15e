import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { describe, it } from 'node:test'
import { Bitfield } from '../../protocols/bitfield.ts'
import type { Claim } from '../../protocols/claim/codec.ts'
import { digestOf } from '../../protocols/digest.ts'
import { Accusations, type Contest } from '../../src/download/accusations.ts'
import { Bell } from '../../src/download/bell.ts'
import { Incoming } from '../../src/download/incoming.ts'
import { Proven } from '../../src/download/proven.ts'
import { Scrutiny } from '../../src/download/scrutiny.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { Downlink } from '../../src/transfer/downlink.ts'
import type { Neighbour } from '../../src/transfer/transfer.ts'
import { content, PIECE } from './rig.ts'

const PIECES = 4
const sha = (bytes: Uint8Array) => hash('sha256', bytes, 'buffer')

/** A download of which each piece is another byte, with nothing behind it but a store. */
async function rig({ importable = true, looks = () => 1 }: { importable?: boolean; looks?: () => number } = {}) {
  const { bytes, digest } = content(PIECES * PIECE)
  const store = createMemoryStore()
  const bell = new Bell()
  const metrics = { downloaded() {}, served() {}, pieceFailed() {}, wasted() {}, downloadEnded() {} }
  const writer = await store.write(digest, bytes.length)
  const incoming = new Incoming(digest, writer, { bell, metrics, downlink: new Downlink(), onPiece() {} })
  const accusations = new Accusations()
  const contests: Contest[] = []
  accusations.onContest((contest) => contests.push(contest))
  const neighbours: Neighbour[] = []
  const transfer = { refresh() {} } as never
  const scrutiny = new Scrutiny({
    incoming,
    parts: { peerId: 'self', accusations, proven: new Proven(), random: looks, log: SILENT, transfer },
    neighbours: () => neighbours,
    waiting: () => 0,
    ask: async () => {},
    importable: () => importable,
    onCaught() {},
  })
  const piece = (index: number) => bytes.subarray(index * PIECE, (index + 1) * PIECE)
  return {
    incoming,
    contests,
    neighbours,
    says: (author: string, index: number, right: boolean) => {
      const said = right ? sha(piece(index)) : digestOf(Buffer.from(`wrong ${index}`)).bytes
      const claim: Claim = {
        kind: 'import',
        digest,
        size: bytes.length,
        first: index,
        hashes: [said],
        author,
        signature: new Uint8Array(64),
      }
      incoming.book.add(claim)
    },
    holds: async (index: number, from: string, wrong = false) => {
      const held = Buffer.from(piece(index))
      if (wrong) held[0] = (held[0] as number) ^ 1
      const attempt = incoming.begin(index, from)
      await incoming.put(index, held, undefined, attempt)
      incoming.end(index, attempt)
      return sha(held)
    },
    /** Until all news has been weighed. */
    weigh: async () => {
      const weighed = bell.wait(new AbortController().signal)
      scrutiny.pump(performance.now())
      await weighed
    },
  }
}

describe('an importer who signed something else than our own origin has', () => {
  it('is believed no more, what only it vouches for is dropped, others are shown what it signed, and nobody is banned', async () => {
    const { incoming, contests, says, holds, weigh } = await rig()
    await holds(0, 'origin')
    const lie = await holds(1, 'liar', true)
    incoming.book.add({
      kind: 'import',
      digest: incoming.digest,
      size: incoming.geometry.size,
      first: 1,
      hashes: [lie],
      author: 'liar',
      signature: new Uint8Array(64),
    })
    says('honest', 2, true)
    await holds(2, 'honest')
    says('liar', 0, false)
    await weigh()
    assert.deepEqual([...incoming.doubts.caught], ['liar'])
    assert.deepEqual([incoming.writer.have.has(0), incoming.writer.have.has(1), incoming.writer.have.has(2)], [true, false, true])
    assert.ok(incoming.doubts.bars(1), 'it comes by import, or on another word')
    assert.equal(contests.length, 1)
    assert.equal(contests[0]?.against.author, 'liar')
  })

  it('and so did all others, as where our origin is the one that is wrong, is left to the digest', async () => {
    const { incoming, says, holds, weigh } = await rig()
    for (const [index, author] of ['a', 'b', 'c'].entries()) {
      await holds(index, 'origin', true)
      says(author, index, true)
    }
    await weigh()
    assert.deepEqual([...incoming.doubts.caught], [])
    assert.ok(!incoming.book.isSuspect('a'))
  })
})

describe('importers who contradict each other about what we have not seen', () => {
  it('are settled by more who looked, and that is taken back when it turns out otherwise', async () => {
    const { incoming, contests, says, weigh } = await rig()
    says('liar', 3, false)
    for (const author of ['a', 'b', 'c']) says(author, 3, true)
    await weigh()
    assert.deepEqual([...incoming.doubts.caught], ['liar'])
    const told = contests.map(({ by, against }) => [by?.author, against.author])
    assert.deepEqual(
      told,
      [
        ['a', 'liar'],
        ['b', 'liar'],
        ['c', 'liar'],
      ],
      'who has convinced it is passed on',
    )
    for (const author of ['d', 'e']) says(author, 3, false)
    await weigh()
    assert.deepEqual([...incoming.doubts.caught], [])
  })

  it('make two of the others look, and each of them imports the piece whoever holds it', async () => {
    const { incoming, says, weigh } = await rig()
    says('liar', 3, false)
    says('a', 3, true)
    await weigh()
    assert.deepEqual([...incoming.doubts.caught], [])
    assert.ok(incoming.doubts.urgent.has(3), 'with nobody else there it falls to this node')
  })

  it('are left to the digest by a node that can not look', async () => {
    const { incoming, says, weigh } = await rig({ importable: false })
    says('liar', 3, false)
    for (const author of ['a', 'b', 'c']) says(author, 3, true)
    await weigh()
    assert.deepEqual([...incoming.doubts.caught], [])
    assert.equal(incoming.doubts.urgent.size, 0)
  })
})

describe('a piece on the word of one who has been caught', () => {
  it('is not kept when it comes all the same, and one of a small blob is never looked at unasked', async () => {
    const { incoming, neighbours, weigh, says } = await rig({ looks: () => 0 })
    incoming.doubts.caught.add('liar')
    assert.ok(incoming.doubts.refuses(1, 'liar'))
    assert.ok(!incoming.doubts.refuses(2, 'honest'))
    const have = new Bitfield(PIECES)
    have.add(2)
    neighbours.push({ peer: { id: 'a', addresses: [] }, state: 'partial', have } as never)
    says('a', 2, true)
    await weigh()
    assert.equal(incoming.doubts.urgent.size, 0)
  })
})
