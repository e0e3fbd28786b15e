import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ShoalError } from '../../src/errors.ts'
import { until } from '../helpers/until.ts'
import { content, createWorld, flipped, NEVER, PIECE, withCode } from './rig.ts'
import { BLOB_SOURCE, Tap } from './scripted-origin.ts'

const origin = BLOB_SOURCE

describe('readers of one blob', () => {
  it('share one download and one request to the origin, however many they are', async (t) => {
    const { bytes, digest } = content(5 * PIECE + 7)
    const tap = new Tap()
    const node = await createWorld(t).node({ origin: { bytes, tap } })
    const readers = Array.from({ length: 10 }, () => node.read(digest, { origin }))
    await until('the origin is asked', () => node.origin.opens.length > 0)
    assert.equal(node.downloads.progress().length, 1)
    tap.open()
    for (const read of await Promise.all(readers)) assert.ok(read.equals(bytes))
    assert.equal(node.origin.opens.length, 1)
    assert.equal(node.counts.bytes.origin, bytes.length)
    assert.deepEqual(node.counts.ended, { complete: 1, cancelled: 0, failed: 0 })
  })

  it('get bytes from the first piece on, long before the blob is complete', async (t) => {
    const { bytes, digest } = content(6 * PIECE)
    const tap = new Tap()
    const node = await createWorld(t).node({ origin: { bytes, tap } })
    const seen: number[] = []
    const reading = node.read(digest, { origin, onChunk: (chunk) => seen.push(chunk.length) })
    for (const pieces of [1, 2, 4]) {
      tap.open(pieces * PIECE)
      await until(`the reader has ${pieces} pieces`, () => seen.length === pieces)
    }
    assert.equal((await node.store.open(digest))?.complete, false)
    tap.open()
    assert.ok((await reading).equals(bytes))
    assert.equal((await node.store.open(digest))?.complete, true)
  })

  it('are not shown the last piece before the whole digest was verified', async (t) => {
    const { bytes, digest } = content(4 * PIECE)
    const node = await createWorld(t).node({ origin: { bytes: flipped(bytes, 1) } })
    let shown = 0
    const reading = node.read(digest, { origin, onChunk: (chunk) => (shown += chunk.length) })
    await assert.rejects(reading, withCode('DIGEST_MISMATCH'))
    assert.ok(shown <= 3 * PIECE, `${shown} bytes were shown`)
    assert.equal(await node.store.open(digest), undefined, 'nothing of it is kept')
    assert.equal(node.counts.ended.failed, 1)
  })

  it('who come late to a running download get it from the start', async (t) => {
    const { bytes, digest } = content(6 * PIECE)
    const tap = new Tap()
    const node = await createWorld(t).node({ origin: { bytes, tap } })
    let seen = 0
    const first = node.read(digest, { origin, onChunk: (chunk) => (seen += chunk.length) })
    tap.open(3 * PIECE)
    await until('three pieces are there', () => seen === 3 * PIECE)
    const late = node.read(digest)
    tap.open()
    assert.ok((await first).equals(bytes))
    assert.ok((await late).equals(bytes))
    assert.equal(node.origin.opens.length, 1)
  })

  it('are served from the store alone once it is held', async (t) => {
    const { bytes, digest } = content(3 * PIECE)
    const node = await createWorld(t).node({ origin: { bytes } })
    await node.read(digest, { origin })
    node.origin.script = undefined
    assert.ok((await node.read(digest, { origin })).equals(bytes))
    assert.equal(node.origin.opens.length, 1)
  })
})

describe('a range', () => {
  it('costs only the pieces that it touches', async (t) => {
    const { bytes, digest } = content(20 * PIECE)
    const world = createWorld(t)
    await (await world.node()).seed(bytes)
    const node = await world.node()
    const [start, end] = [5 * PIECE + 10, 7 * PIECE - 10]
    assert.ok((await node.read(digest, { start, end })).equals(bytes.subarray(start, end)))
    // piece 0 may be asked for to learn the size
    assert.ok(node.counts.bytes.peer <= 3 * PIECE, `${node.counts.bytes.peer} bytes were fetched`)
  })

  it('is asked of the origin where it lies', async (t) => {
    const { bytes, digest } = content(40 * PIECE)
    const node = await createWorld(t).node({ origin: { bytes } })
    const [start, end] = [30 * PIECE, 32 * PIECE]
    assert.ok((await node.read(digest, { origin, start, end })).equals(bytes.subarray(start, end)))
    assert.ok(node.origin.sentBytes < 10 * PIECE, `${node.origin.sentBytes} bytes were sent`)
    assert.equal(node.origin.openBodies, 0)
  })

  it('that reaches the last piece waits for the whole, because only the whole proves it', async (t) => {
    const { bytes, digest } = content(5 * PIECE)
    const node = await createWorld(t).node({ origin: { bytes: flipped(bytes, 0) } })
    await assert.rejects(node.read(digest, { origin, start: 5 * PIECE - 10 }), withCode('DIGEST_MISMATCH'))
  })

  it('of a blob is completed later without fetching again what is held', async (t) => {
    const { bytes, digest } = content(12 * PIECE)
    const world = createWorld(t)
    await (await world.node()).seed(bytes)
    const node = await world.node()
    await node.read(digest, { start: 4 * PIECE, end: 8 * PIECE })
    assert.ok((await node.read(digest)).equals(bytes))
    assert.equal(node.counts.bytes.peer, bytes.length)
  })
})

describe('blobs of every kind are read', () => {
  const kinds = [
    { name: 'empty', size: 0, algorithm: 'sha256' },
    { name: 'of one byte', size: 1, algorithm: 'sha256' },
    { name: 'of exactly one piece', size: PIECE, algorithm: 'sha256' },
    { name: 'of one piece and a byte', size: PIECE + 1, algorithm: 'sha256' },
    { name: 'named by sha512, of one piece', size: 1000, algorithm: 'sha512' },
    { name: 'named by sha512, of several', size: 3 * PIECE + 5, algorithm: 'sha512' },
  ] as const
  for (const { name, size, algorithm } of kinds) {
    it(`${name}, from the origin and then from a peer`, async (t) => {
      const { bytes, digest } = content(size, algorithm)
      const world = createWorld(t)
      const node = await world.node({ origin: { bytes } })
      assert.ok((await node.read(digest, { origin })).equals(bytes))
      const other = await world.node()
      assert.ok((await other.read(digest)).equals(bytes))
      assert.equal(other.counts.bytes.origin, 0)
      assert.equal((await other.store.open(digest))?.complete, true)
    })
  }
})

describe('a reader that goes away', () => {
  it('cancels what nobody else wants: the origin is let go and nothing stays open', async (t) => {
    const { bytes, digest } = content(10 * PIECE)
    const tap = new Tap()
    const node = await createWorld(t).node({ origin: { bytes, tap } })
    const stop = new AbortController()
    let seen = 0
    const reading = node.read(digest, { origin, signal: stop.signal, onChunk: (chunk) => (seen += chunk.length) })
    tap.open(2 * PIECE)
    await until('something was read', () => seen === 2 * PIECE)
    assert.equal(node.origin.openBodies, 1)
    stop.abort(new Error('gone'))
    await assert.rejects(reading, /gone/)
    await until('the download has ended', () => node.downloads.progress().length === 0)
    assert.equal(node.origin.openBodies, 0)
    assert.equal(node.counts.ended.cancelled, 1)
    assert.equal(node.log.filter(({ msg }) => msg.startsWith('download failed')).length, 0, 'it is no failure')
  })

  it('keeps for the next one what had come in', async (t) => {
    const { bytes, digest } = content(8 * PIECE)
    const tap = new Tap()
    const node = await createWorld(t).node({ origin: { bytes, tap } })
    const stop = new AbortController()
    let seen = 0
    const reading = node.read(digest, { origin, signal: stop.signal, onChunk: (chunk) => (seen += chunk.length) })
    tap.open(4 * PIECE)
    await until('half was read', () => seen === 4 * PIECE)
    stop.abort(new Error('gone'))
    await assert.rejects(reading, /gone/)
    await until('the download has ended', () => node.downloads.progress().length === 0)
    tap.open()
    assert.ok((await node.read(digest, { origin })).equals(bytes))
    assert.equal(node.counts.bytes.origin, bytes.length, 'no piece came twice')
  })

  it('does not disturb the others', async (t) => {
    const { bytes, digest } = content(8 * PIECE)
    const tap = new Tap()
    const node = await createWorld(t).node({ origin: { bytes, tap } })
    const stop = new AbortController()
    const leaving = node.read(digest, { origin, signal: stop.signal })
    const staying = node.read(digest, { origin })
    tap.open(2 * PIECE)
    await until('it runs', () => node.counts.bytes.origin === 2 * PIECE)
    stop.abort(new Error('gone'))
    await assert.rejects(leaving, /gone/)
    tap.open()
    assert.ok((await staying).equals(bytes))
    assert.equal(node.origin.opens.length, 1)
  })

  it('while the size is not known yet leaves nothing behind', async (t) => {
    const { digest } = content(10)
    const node = await createWorld(t).node({
      origin: { bytes: new Uint8Array(), refuse: () => new ShoalError('ORIGIN_FAILED', 'try later') },
    })
    const stop = new AbortController()
    const reading = node.read(digest, { origin, signal: stop.signal })
    await until('the origin is asked', () => node.origin.opens.length > 0)
    stop.abort(new Error('gone'))
    await assert.rejects(reading, /gone/)
    await until('the download has ended', () => node.downloads.progress().length === 0)
    assert.equal(node.origin.openBodies, 0)
  })
})

describe('a node that closes with downloads running', () => {
  it('tells each reader so, and lets everything go', async (t) => {
    const world = createWorld(t)
    const blobs = [content(4 * PIECE), content(6 * PIECE)] as const
    const tap = new Tap()
    const node = await world.node({ origin: { bytes: blobs[0].bytes, tap } })
    const readings = blobs.map(({ digest }) => node.read(digest, { origin }))
    const ends = readings.map((reading) => assert.rejects(reading, withCode('NODE_CLOSED')))
    tap.open(PIECE)
    await until('both run', () => node.origin.openBodies === 2)
    await node.downloads[Symbol.asyncDispose]()
    await Promise.all(ends)
    assert.equal(node.origin.openBodies, 0)
    assert.deepEqual(node.downloads.progress(), [])
    await assert.rejects(node.downloads.open(blobs[0].digest, { signal: NEVER }), withCode('NODE_CLOSED'))
  })
})

describe('content that nobody has', () => {
  it('is unknown, and that is found out at once', async (t) => {
    const world = createWorld(t)
    await world.node()
    const node = await world.node()
    const { digest } = content(10)
    await assert.rejects(node.read(digest), withCode('BLOB_UNKNOWN'))
    assert.deepEqual(node.downloads.progress(), [])
  })

  it('is unknown to the origin too', async (t) => {
    const node = await createWorld(t).node()
    await assert.rejects(node.read(content(10).digest, { origin }), withCode('ORIGIN_NOT_FOUND'))
  })

  it('may come to be there, and is then found', async (t) => {
    const { bytes, digest } = content(2 * PIECE)
    const node = await createWorld(t).node()
    await assert.rejects(node.read(digest, { origin }), withCode('ORIGIN_NOT_FOUND'))
    node.origin.script = { bytes }
    assert.ok((await node.read(digest, { origin })).equals(bytes))
  })
})
