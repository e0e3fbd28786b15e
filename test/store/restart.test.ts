import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { PIECE_SIZES } from '../../protocols/pieces.ts'
import { openDiskStore } from '../../src/store/disk.ts'
import type { DiskStore } from '../../src/store/disk-store.ts'
import type { StoredBlob, TagRecord } from '../../src/store/store.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { content, keep, listed, putAll, readAll, stream, withCode } from '../conformance/store.ts'
import { crashCopy, tmp } from '../helpers/tmp.ts'

const KiB = 1024
const MiB = 1024 * KiB
const signal = new AbortController().signal

async function openAt(t: TestContext, path: string, options: { maxTags?: number } = {}): Promise<DiskStore> {
  const store = await openDiskStore({ path, log: SILENT, ...options })
  t.after(() => store[Symbol.asyncDispose]())
  return store
}

/** Bytes that this process has read so far, from page cache or disk, by all of its threads. */
async function bytesRead(): Promise<number> {
  return Number(/^rchar: (\d+)$/m.exec(await readFile('/proc/self/io', 'utf8'))?.[1])
}

describe('the disk store over a restart', () => {
  it('holds what it held, in whole and in part, with what is known about it', async (t) => {
    const path = join(await tmp(t), 'store')
    const whole = content(700 * KiB, 1)
    const small = content(5 * KiB, 2, 'sha512')
    const part = content(20 * MiB, 3)
    const empty = content(0, 0)
    {
      await using store = await openAt(t, path)
      for (const blob of [whole, small, empty]) await keep(blob, store)
      await store.setMeta(small.digest, { mediaType: 'a/b' })
      await using writer = await store.write(part.digest, part.bytes.length)
      await putAll(writer, part, [70, 3, 79])
    }
    await using store = await openAt(t, path)
    assert.deepEqual(await store.usage(), { blobs: 4, bytes: 705 * KiB + 3 * 256 * KiB })
    assert.equal((await listed(store)).length, 4)
    for (const blob of [whole, small, empty]) {
      await using found = await store.open(blob.digest)
      assert.equal(found?.complete, true)
      assert.deepEqual(await readAll(found as StoredBlob), blob.bytes)
    }
    assert.deepEqual((await store.open(small.digest))?.meta, { mediaType: 'a/b' })
    await using writer = await store.write(part.digest, part.bytes.length)
    assert.deepEqual(
      [3, 70, 79, 4].map((i) => writer.have.has(i)),
      [true, true, true, false],
    )
    assert.deepEqual(Buffer.from((await writer.hashes(70, 1))[0] as Uint8Array), part.hashes[70])
    await putAll(writer, part)
    await writer.commit({})
    assert.deepEqual(await readAll(writer), part.bytes)
  })

  it('still knows what a lost piece of a verified blob must be', async (t) => {
    const path = join(await tmp(t), 'store')
    const c = content(700 * KiB, 4)
    {
      await using store = await openAt(t, path)
      await keep(c, store)
      await using writer = await store.write(c.digest, c.bytes.length)
      await writer.drop([1])
    }
    await using store = await openAt(t, path)
    await using writer = await store.write(c.digest, c.bytes.length)
    assert.equal(writer.have.has(1), false)
    const lie = content(256 * KiB, 5)
    await assert.rejects(writer.put(1, lie.bytes, lie.hashes[0]), withCode('PIECE_MISMATCH'))
    await writer.put(1, c.pieces[1] as Uint8Array, undefined)
    assert.equal(writer.complete, true)
  })

  it('forgets what was deleted, and the oldest tags first', async (t) => {
    const path = join(await tmp(t), 'store')
    const c = content(700 * KiB, 6)
    const tag: TagRecord = { digest: c.digest, mediaType: 'a/b', size: 1, checkedAt: 5, restricted: true }
    {
      await using store = await openAt(t, path, { maxTags: 2 })
      await keep(c, store)
      await store.delete(c.digest)
      for (const name of ['a', 'b', 'a']) await store.tags.set(name, tag)
    }
    await using store = await openAt(t, path, { maxTags: 2 })
    assert.equal(await store.open(c.digest), undefined)
    await store.tags.set('c', tag)
    assert.deepEqual(await store.tags.get('a'), tag)
    assert.equal(await store.tags.get('b'), undefined)
  })

  it('finds more blobs again than it keeps open', async (t) => {
    const store = await openAt(t, join(await tmp(t), 'store'))
    const blobs = Array.from({ length: 150 }, (_, i) => content(i % 10 === 0 ? 70 * KiB : 100, 100 + i))
    for (const blob of blobs) await keep(blob, store)
    for (const blob of blobs) {
      await using found = await store.open(blob.digest)
      assert.deepEqual(await readAll(found as StoredBlob), blob.bytes)
    }
  })

  it('brings in a stream that outgrows its first piece size', async (t) => {
    const store = await openAt(t, join(await tmp(t), 'store'))
    const c = content((PIECE_SIZES[0]?.upTo ?? 0) + 2 * MiB + 5, 7)
    const info = await store.ingest(stream(c.bytes, 3 * MiB + 1), { signal })
    assert.equal(info.digest.toString(), c.digest.toString())
    await using blob = await store.open(c.digest)
    assert.deepEqual(
      await blob?.hashes(0, 999),
      c.hashes.map((h) => Uint8Array.from(h)),
    )
    assert.ok((await readAll(blob as StoredBlob)).equals(c.bytes))
  })

  it('reads no more at start, also after an unclean stop, when more bytes are stored', async (t) => {
    const path = join(await tmp(t), 'store')
    const store = await openAt(t, path)
    await keep(content(1 * MiB, 8), store)
    const little = await crashCopy(t, path, { share: true })
    async function* much() {
      const chunk = Buffer.alloc(4 * MiB, 'shoal')
      for (let i = 0; i < 64; i++) yield chunk
    }
    await store.ingest(much(), { signal })
    const lots = await crashCopy(t, path, { share: true })
    const cost = async (at: string) => {
      const before = await bytesRead()
      await using opened = await openAt(t, at)
      await opened.usage()
      return (await bytesRead()) - before
    }
    await cost(await crashCopy(t, path, { share: true }))
    const [few, many] = [await cost(little), await cost(lots)]
    assert.ok(many < few + 256 * KiB, `${many} bytes were read to open 257 MiB, ${few} to open 1 MiB`)
  })

  it('refuses a second daemon, naming the directory', async (t) => {
    const path = join(await tmp(t), 'store')
    await using _store = await openAt(t, path)
    await assert.rejects(openDiskStore({ path, log: SILENT }), (error: Error) => {
      assert.match(error.message, new RegExp(path))
      return withCode('STORE_LOCKED')(error)
    })
  })
})
