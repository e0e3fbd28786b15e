import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { codeOf } from '../../src/errors.ts'
import { openDiskStore } from '../../src/store/disk.ts'
import type { DiskStore } from '../../src/store/disk-store.ts'
import type { StoredBlob } from '../../src/store/store.ts'
import { type Log, SILENT } from '../../src/telemetry/log.ts'
import { type Content, content, keep, putAll, readAll, stream, withCode } from '../conformance/store.ts'
import { crashCopy, smallDisk } from '../helpers/tmp.ts'

const KiB = 1024
const MiB = 1024 * KiB
const signal = new AbortController().signal

interface Rig {
  readonly path: string
  readonly filler: string
  readonly warnings: string[]
  open(options?: { reserveBytes?: number }): Promise<DiskStore>
}

/** A disk of so many bytes with a store on it; `undefined` where this user may not mount one. */
async function rig(t: TestContext, bytes: number): Promise<Rig | undefined> {
  const disk = await smallDisk(t, bytes)
  if (disk === undefined) return undefined
  const warnings: string[] = []
  const log = Object.create(SILENT) as Log
  log.warn = (_: unknown, message?: unknown) => void warnings.push(String(message))
  const path = join(disk, 'store')
  return {
    path,
    filler: join(disk, 'filler'),
    warnings,
    async open(options = { reserveBytes: 0 }) {
      const store = await openDiskStore({ path, log, recordDelayMs: 5, ...options })
      t.after(() => store[Symbol.asyncDispose]())
      return store
    },
  }
}

/** Somebody else fills the disk, up to the last block. */
async function fill(path: string): Promise<void> {
  await using file = await open(path, 'a')
  for (const size of [1 * MiB, 64 * KiB, 4 * KiB]) {
    const bytes = Buffer.alloc(size)
    try {
      for (;;) await file.write(bytes)
    } catch (error) {
      assert.equal((error as NodeJS.ErrnoException).code, 'ENOSPC')
    }
  }
}

/** Writes small blobs until one is refused. @returns those that were taken */
async function untilRefused(store: DiskStore, firstSeed: number): Promise<Content[]> {
  const taken: Content[] = []
  for (let seed = firstSeed; ; seed++) {
    const c = content(16 * KiB, seed)
    try {
      await keep(c, store)
      await store.flush()
      taken.push(c)
    } catch (error) {
      assert.equal(codeOf(error), 'STORE_FULL', String(error))
      return taken
    }
  }
}

async function assertHolds(store: DiskStore, blobs: readonly Content[]): Promise<void> {
  for (const c of blobs) {
    await using blob = await store.open(c.digest)
    assert.equal(blob?.complete, true, `a blob of ${c.bytes.length} bytes was lost`)
    assert.deepEqual(await readAll(blob as StoredBlob), c.bytes)
  }
}

describe('a full disk', () => {
  it('refuses a piece, keeps what it has, and takes the piece when there is room', async (t) => {
    const r = await rig(t, 16 * MiB)
    if (r === undefined) return t.skip('this user may not mount a small disk')
    const store = await r.open()
    const c = content(4 * MiB, 1)
    await using writer = await store.write(c.digest, c.bytes.length)
    await putAll(writer, c, [0, 1, 2, 3])
    await store.flush()
    await fill(r.filler)
    await assert.rejects(writer.put(9, c.pieces[9] as Uint8Array, c.hashes[9]), withCode('STORE_FULL'))
    await assert.rejects(writer.put(10, c.pieces[10] as Uint8Array, c.hashes[10]), withCode('STORE_FULL'))
    assert.equal(writer.have.count, 4)
    assert.deepEqual(r.warnings, ['the disk is full: what is fetched is handed on but not kept'])
    for (const index of [0, 1, 2, 3]) {
      const piece = await writer.readVerified(index, { signal })
      assert.equal(Buffer.compare(piece.bytes, c.pieces[index] as Uint8Array), 0)
      piece.release()
    }
    await rm(r.filler)
    await putAll(writer, c)
    await writer.commit({})
    await store.flush()
    await assertHolds(store, [c])
  })

  it('leaves room for the catalog: what would fill the disk is refused before it starts, and once it is nearly full', async (t) => {
    const r = await rig(t, 40 * MiB)
    if (r === undefined) return t.skip('this user may not mount a small disk')
    const store = await r.open({ reserveBytes: 2 * MiB })
    await assert.rejects(store.write(content(1, 0).digest, 39 * MiB), withCode('STORE_FULL'))
    const c = content(30 * MiB, 2)
    await using writer = await store.write(c.digest, c.bytes.length)
    writeFileSync(r.filler, Buffer.alloc(20 * MiB))
    await assert.rejects(putAll(writer, c), withCode('STORE_FULL'))
    assert.ok(writer.have.count > 50, `${writer.have.count} pieces were taken`)
    await store.setMeta(c.digest, { mediaType: 'a/b' })
    await store.flush()
    const after = await openDiskStore({ path: await crashCopy(t, r.path), log: SILENT })
    t.after(() => after[Symbol.asyncDispose]())
    await using resumed = await after.open(c.digest)
    assert.deepEqual(resumed?.have.toBytes(), writer.have.toBytes())
  })

  it('stops the catalog in the middle of a record without losing one before or after it', async (t) => {
    const r = await rig(t, 24 * MiB)
    if (r === undefined) return t.skip('this user may not mount a small disk')
    const store = await r.open()
    const before = [content(600 * KiB, 3), content(9 * KiB, 4)]
    for (const c of before) await keep(c, store)
    const partial = content(2 * MiB, 5)
    await using writer = await store.write(partial.digest, partial.bytes.length)
    await putAll(writer, partial, [1, 5])
    await fill(r.filler)
    const squeezed = await untilRefused(store, 100)
    await assert.rejects(store.setMeta((before[0] as Content).digest, { mediaType: 'a/b' }), withCode('STORE_FULL'))
    await assertHolds(store, [...before, ...squeezed])
    await rm(r.filler)
    const later = [content(700 * KiB, 6), content(8 * KiB, 7)]
    await store.flush()
    for (const c of later) await keep(c, store)
    await putAll(writer, partial)
    await writer.commit({})
    await store.flush()
    const crashed = await openDiskStore({ path: await crashCopy(t, r.path), log: SILENT })
    t.after(() => crashed[Symbol.asyncDispose]())
    await assertHolds(crashed, [...before, ...squeezed, ...later, partial])
    assert.deepEqual((await crashed.open((before[0] as Content).digest))?.meta, { mediaType: 'a/b' })
  })

  it('keeps nothing of a stream that does not fit, and what was held of it before', async (t) => {
    const r = await rig(t, 16 * MiB)
    if (r === undefined) return t.skip('this user may not mount a small disk')
    const store = await r.open()
    const c = content(14 * MiB, 8)
    {
      await using writer = await store.write(c.digest, c.bytes.length)
      await putAll(writer, c, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    }
    await assert.rejects(store.ingest(stream(c.bytes, 1 * MiB), { signal }), withCode('STORE_FULL'))
    await using blob = await store.open(c.digest)
    assert.equal(blob?.have.count, 12)
    const piece = await blob?.readVerified(11, { signal })
    assert.equal(Buffer.compare(piece?.bytes as Uint8Array, c.pieces[11] as Uint8Array), 0)
    piece?.release()
  })

  it('can be made room on by deleting', async (t) => {
    const r = await rig(t, 16 * MiB)
    if (r === undefined) return t.skip('this user may not mount a small disk')
    const store = await r.open()
    const [old, fresh] = [content(6 * MiB, 9), content(5 * MiB, 10)]
    await keep(old, store)
    await fill(r.filler)
    await untilRefused(store, 200)
    assert.equal(await store.delete(old.digest), true)
    assert.equal(await store.open(old.digest), undefined)
    await store.flush()
    await keep(fresh, store)
    await assertHolds(store, [fresh])
  })
})
