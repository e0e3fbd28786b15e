import assert from 'node:assert/strict'
import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { ShoalError } from '../../src/errors.ts'
import { openDiskStore } from '../../src/store/disk.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import type { BlobWriter, Store } from '../../src/store/store.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { NO_METRICS } from '../../src/telemetry/metrics.ts'
import { tmp } from '../helpers/tmp.ts'
import { until } from '../helpers/until.ts'
import { content, createWorld, flipped, PIECE, withCode } from './rig.ts'
import { BLOB_SOURCE, Tap } from './scripted-origin.ts'

const origin = BLOB_SOURCE

/** A store in memory with room for so many pieces. */
function createSmallStore(pieces: number): Store {
  const store = createMemoryStore()
  let room = pieces
  const put = async (writer: BlobWriter, ...[index, bytes, expected]: Parameters<BlobWriter['put']>) => {
    if (room === 0 && !writer.have.has(index)) throw new ShoalError('STORE_FULL', 'no room')
    const hash = await writer.put(index, bytes, expected)
    room--
    return hash
  }
  const write = async (...args: Parameters<Store['write']>) => {
    const writer = await store.write(...args)
    return overridden(writer, { put: (...put_) => put(writer, ...put_) })
  }
  return overridden(store, { write })
}

/** The object with some methods replaced. */
function overridden<T extends object>(target: T, methods: Partial<T>): T {
  return new Proxy(target, {
    get(_, name) {
      const value = Reflect.get(name in methods ? methods : target, name, name in methods ? methods : target)
      return typeof value === 'function' ? value.bind(name in methods ? methods : target) : value
    },
  })
}

describe('a store that becomes full midway', () => {
  for (const room of [0, 1, 3]) {
    it(`with room for ${room} pieces: the blob streams through to every reader, and is not kept`, async (t) => {
      const { bytes, digest } = content(8 * PIECE + 5)
      const tap = new Tap()
      const node = await createWorld(t).node({ origin: { bytes, tap }, store: createSmallStore(room) })
      const readers = [0, 1, 2].map(() => node.read(digest, { origin }))
      tap.open()
      for (const read of await Promise.all(readers)) assert.ok(read.equals(bytes))
      assert.notEqual((await node.store.open(digest))?.complete, true)
      assert.equal(node.log.filter(({ code }) => code === 'STORE_FULL').length, 1, 'one line says so')
      assert.equal(node.origin.sentBytes < 2 * bytes.length, true)
    })
  }

  it('streams through from a peer too', async (t) => {
    const { bytes, digest } = content(8 * PIECE)
    const world = createWorld(t)
    await (await world.node()).seed(bytes)
    const node = await world.node({ store: createSmallStore(2) })
    assert.ok((await node.read(digest)).equals(bytes))
    assert.equal(world.shared.holders.get(String(digest))?.has(node.host.peerId), false, 'it does not say that it holds it')
  })

  it('still does not show the last piece of what is wrong', async (t) => {
    const { bytes, digest } = content(6 * PIECE)
    const node = await createWorld(t).node({ origin: { bytes: flipped(bytes, 4) }, store: createSmallStore(2) })
    let shown = 0
    await assert.rejects(node.read(digest, { origin, onChunk: (chunk) => (shown += chunk.length) }), withCode('DIGEST_MISMATCH'))
    assert.ok(shown < bytes.length)
  })

  it('a range streams through', async (t) => {
    const { bytes, digest } = content(8 * PIECE)
    const node = await createWorld(t).node({ origin: { bytes }, store: createSmallStore(1) })
    const [start, end] = [2 * PIECE + 3, 5 * PIECE]
    assert.ok((await node.read(digest, { origin, start, end })).equals(bytes.subarray(start, end)))
  })

  it('can be read again afterwards, from the origin', async (t) => {
    const { bytes, digest } = content(5 * PIECE)
    const node = await createWorld(t).node({ origin: { bytes }, store: createSmallStore(2) })
    for (let i = 0; i < 2; i++) {
      assert.ok((await node.read(digest, { origin })).equals(bytes))
      await until('the download has ended', () => node.downloads.progress().length === 0)
    }
  })

  it('a blob of one piece streams through', async (t) => {
    const { bytes, digest } = content(1000)
    const node = await createWorld(t).node({ origin: { bytes }, store: createSmallStore(0) })
    assert.ok((await node.read(digest, { origin })).equals(bytes))
  })
})

describe('a store that is full from the start', () => {
  const fullStore = () =>
    overridden(createMemoryStore(), { write: () => Promise.reject(new ShoalError('STORE_FULL', 'not enough room')) })

  it('hands on what comes from the origin', async (t) => {
    const { bytes, digest } = content(8 * PIECE + 5)
    const node = await createWorld(t).node({ origin: { bytes }, store: fullStore() })
    const readers = [0, 1].map(() => node.read(digest, { origin }))
    for (const read of await Promise.all(readers)) assert.ok(read.equals(bytes))
    assert.equal(node.log.filter(({ code }) => code === 'STORE_FULL').length, 1, 'one line says so')
    assert.equal(node.origin.openBodies, 0)
  })

  it('hands on what comes from a peer', async (t) => {
    const { bytes, digest } = content(8 * PIECE + 5)
    const world = createWorld(t)
    await (await world.node()).seed(bytes)
    const node = await world.node({ store: fullStore() })
    assert.ok((await node.read(digest)).equals(bytes))
  })

  it('hands on a blob of one piece', async (t) => {
    const { bytes, digest } = content(1000)
    const node = await createWorld(t).node({ origin: { bytes }, store: fullStore() })
    assert.ok((await node.read(digest, { origin })).equals(bytes))
  })
})

describe('a disk that has changed a byte', () => {
  async function spoilt(t: Parameters<typeof tmp>[0]) {
    const path = await tmp(t)
    const store = await openDiskStore({ path, log: SILENT, metrics: NO_METRICS })
    const blob = content(6 * PIECE)
    const world = createWorld(t)
    const node = await world.node({ origin: { bytes: blob.bytes }, store })
    await node.seed(blob.bytes)
    await flipOnDisk(path, blob.bytes.length, 3 * PIECE + 100)
    return { ...blob, world, node }
  }

  it('is healed from a peer, and the reader notices nothing', async (t) => {
    const { bytes, digest, world, node } = await spoilt(t)
    await (await world.node()).seed(bytes)
    assert.ok((await node.read(digest, { origin })).equals(bytes))
    assert.equal(node.counts.bytes.peer, PIECE)
    assert.ok((await node.read(digest)).equals(bytes))
    assert.equal(node.counts.bytes.peer, PIECE, 'once')
    assert.deepEqual(node.origin.opens, [])
  })

  it('is healed from the origin where no peer has it', async (t) => {
    const { bytes, digest, node } = await spoilt(t)
    assert.ok((await node.read(digest, { origin })).equals(bytes))
    assert.equal(node.counts.bytes.origin, PIECE)
  })

  it('gives an error, and not a wrong byte, where nobody else has it', async (t) => {
    const { digest, node } = await spoilt(t)
    let shown = 0
    await assert.rejects(node.read(digest, { onChunk: (chunk) => (shown += chunk.length) }), withCode('BLOB_UNKNOWN'))
    assert.equal(shown, 3 * PIECE)
  })

  it('costs a peer that piece, and the next time it is right: it comes back from who asked, though nobody reads it here', async (t) => {
    const { bytes, digest, world, node } = await spoilt(t)
    const other = await world.node({ origin: { bytes } })
    assert.ok((await other.read(digest, { origin })).equals(bytes))
    assert.equal(other.counts.failed.peer, 1)
    assert.deepEqual(other.bans.list(), [], 'a bad disk is no malice')
    await until('it is whole again', () => node.log.some(({ msg }) => msg === 'what the disk had spoilt was brought in anew'))
    assert.equal((await node.store.open(digest))?.complete, true)
    assert.deepEqual([node.counts.bytes.peer, node.counts.bytes.origin], [PIECE, 0])
    assert.ok((await node.read(digest)).equals(bytes))
    assert.equal(node.counts.bytes.peer, PIECE)
  })
})

/** Flips a byte of the one file of that size. */
async function flipOnDisk(path: string, size: number, at: number): Promise<void> {
  for (const entry of await readdir(path, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    await using file = await open(join(entry.parentPath, entry.name), 'r+')
    if ((await file.stat()).size !== size) continue
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, at)
    await file.write(Buffer.from([(buffer[0] as number) ^ 1]), 0, 1, at)
    return
  }
  throw new Error(`no file of ${size} bytes in ${path}`)
}
