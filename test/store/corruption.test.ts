import assert from 'node:assert/strict'
import { mkdir, open, readdir, rm, stat, truncate, unlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { openDiskStore } from '../../src/store/disk.ts'
import type { DiskStore } from '../../src/store/disk-store.ts'
import type { StoredBlob } from '../../src/store/store.ts'
import { type Log, SILENT } from '../../src/telemetry/log.ts'
import { NO_METRICS } from '../../src/telemetry/metrics.ts'
import { type Content, content, keep, listed, putAll, readAll, withCode } from '../conformance/store.ts'
import { crashCopy, tmp } from '../helpers/tmp.ts'

const KiB = 1024
const PIECE = 256 * KiB
const signal = new AbortController().signal

interface Witness {
  readonly failed: string[]
  readonly warnings: string[]
}

async function openAt(t: TestContext, path: string, witness: Witness = { failed: [], warnings: [] }): Promise<DiskStore> {
  const metrics = { ...NO_METRICS, pieceFailed: (where: string) => witness.failed.push(where) }
  const log = Object.create(SILENT) as Log
  log.warn = (_: unknown, message?: unknown) => void witness.warnings.push(String(message))
  const store = await openDiskStore({ path, log, metrics })
  t.after(() => store[Symbol.asyncDispose]())
  return store
}

function fileOf(path: string, c: Content): string {
  return join(path, 'blobs', c.digest.algorithm, c.digest.hex.slice(0, 2), c.digest.hex)
}

/** Changes a byte, or zeroes a stretch, as a disk or a torn write would. */
async function damage(path: string, at: number, length = 1): Promise<void> {
  await using file = await open(path, 'r+')
  const bytes = Buffer.alloc(length)
  if (length === 1) {
    await file.read(bytes, 0, 1, at)
    bytes[0] = (bytes[0] as number) ^ 1
  }
  await file.write(bytes, 0, length, at)
}

async function filled(t: TestContext, c: Content): Promise<string> {
  const path = join(await tmp(t), 'store')
  await using store = await openAt(t, path)
  await keep(c, store)
  return path
}

/** A store that holds `c` as it is found after its process died. */
async function crashed(t: TestContext, c: Content): Promise<string> {
  const path = join(await tmp(t), 'store')
  const store = await openAt(t, path)
  await keep(c, store)
  return crashCopy(t, path)
}

describe('a wrong byte on our own disk', () => {
  it('is not served verified; the piece is dropped, counted, logged once, and can be brought in anew', async (t) => {
    const c = content(700 * KiB, 1)
    const path = await filled(t, c)
    await damage(fileOf(path, c), PIECE + 5)
    const witness = { failed: [], warnings: [] }
    const store = await openAt(t, path, witness)
    await using blob = (await store.open(c.digest)) as StoredBlob
    assert.equal(blob.complete, true)
    await assert.rejects(blob.readVerified(1, { signal }), withCode('STORE_CORRUPT'))
    assert.equal(blob.complete, false)
    await assert.rejects(blob.readVerified(1, { signal }), withCode('BLOB_UNKNOWN'))
    assert.deepEqual(witness.failed, ['disk'])
    assert.equal(witness.warnings.length, 1)
    await using writer = await store.write(c.digest, c.bytes.length)
    await putAll(writer, c)
    await writer.commit({})
    assert.deepEqual(await readAll(blob), c.bytes)
  })

  it('is found when a peer complains', async (t) => {
    const c = content(700 * KiB, 2)
    const path = await filled(t, c)
    await damage(fileOf(path, c), 2 * PIECE)
    const store = await openAt(t, path)
    await using blob = (await store.open(c.digest)) as StoredBlob
    assert.equal(await blob.recheck(0), true)
    assert.equal(await blob.recheck(2), false)
    assert.deepEqual(
      [0, 1, 2].map((i) => blob.have.has(i)),
      [true, true, false],
    )
  })

  for (const [what, harm] of [
    ['a flipped bit', (file: string) => damage(file, PIECE + 7)],
    ['a torn write', (file: string) => damage(file, PIECE + 4096, 4096)],
    ['a file cut short', (file: string) => truncate(file, PIECE + 100)],
    ['a file that is gone', (file: string) => unlink(file)],
  ] as const) {
    it(`is not served raw after an unclean stop: ${what}`, async (t) => {
      const c = content(2 * PIECE, 3)
      const path = await crashed(t, c)
      await harm(fileOf(path, c))
      const store = await openAt(t, path)
      await using blob = (await store.open(c.digest)) as StoredBlob
      await assert.rejects(blob.readRaw(1, 0, 10, { signal }), withCode('STORE_CORRUPT'))
      assert.equal(blob.have.has(1), false)
      await using writer = await store.write(c.digest, c.bytes.length)
      await putAll(writer, c)
      await writer.commit({})
      const raw = await blob.readRaw(1, 4000, 5000, { signal })
      assert.deepEqual(Buffer.from(raw.bytes), c.pieces[1]?.subarray(4000, 9000))
      raw.release()
    })
  }

  it('is noticed before the digest of a resumed blob is called wrong', async (t) => {
    const c = content(1500 * KiB, 4)
    const path = join(await tmp(t), 'store')
    const first = await openAt(t, path)
    await using before = await first.write(c.digest, c.bytes.length)
    await putAll(before, c, [0, 1, 2, 4, 5])
    await first.flush()
    const copy = await crashCopy(t, path)
    await damage(fileOf(copy, c), 4 * PIECE + 9)
    const witness = { failed: [], warnings: [] }
    const store = await openAt(t, copy, witness)
    await using writer = await store.write(c.digest, c.bytes.length)
    await putAll(writer, c, [3])
    await assert.rejects(writer.commit({}), withCode('STORE_CORRUPT'))
    assert.deepEqual(witness.failed, ['disk'])
    assert.equal(writer.have.has(4), false)
    await putAll(writer, c)
    await writer.commit({})
    assert.deepEqual(await readAll(writer), c.bytes)
  })

  it('is told from a lie when it happens while the blob comes in', async (t) => {
    const c = content(1500 * KiB, 5)
    const path = join(await tmp(t), 'store')
    {
      await using store = await openAt(t, path)
      await using writer = await store.write(c.digest, c.bytes.length)
      await putAll(writer, c, [1, 2, 3, 4, 5])
    }
    await damage(fileOf(path, c), 2 * PIECE + 9)
    const store = await openAt(t, path)
    await using writer = await store.write(c.digest, c.bytes.length)
    await putAll(writer, c, [0])
    await assert.rejects(writer.commit({}), withCode('STORE_CORRUPT'))
    assert.deepEqual(
      [...c.pieces.keys()].filter((i) => !writer.have.has(i)),
      [2],
    )
    await putAll(writer, c)
    await writer.commit({})
    assert.equal(writer.complete, true)
  })

  it('is found in a small blob too', async (t) => {
    const c = content(3000, 6)
    const path = await filled(t, c)
    // Level checks its log itself; a start brings what is in there into a table.
    await (await openAt(t, path))[Symbol.asyncDispose]()
    await damageCatalog(join(path, 'catalog'), c.bytes.subarray(1000, 1040))
    const store = await openAt(t, path)
    await using blob = await store.open(c.digest)
    await assert.rejects(async () => readAll(blob as StoredBlob), withCode('STORE_CORRUPT'))
    await keep(c, store)
  })

  it('costs the whole blob when its directory was deleted, and nothing else', async (t) => {
    const c = content(700 * KiB, 7)
    const path = await filled(t, c)
    await rm(join(path, 'blobs'), { recursive: true })
    const store = await openAt(t, path)
    await using blob = (await store.open(c.digest)) as StoredBlob
    await assert.rejects(blob.readVerified(2, { signal }), withCode('STORE_CORRUPT'))
    assert.equal(blob.have.count, 0)
    await keep(c, store)
    assert.deepEqual(await readAll(blob), c.bytes)
  })
})

describe('power loss', () => {
  it('serves no wrong byte, whatever of the catalog and of the bytes had reached the disk', async (t) => {
    const blobs = [content(1500 * KiB, 10), content(300 * KiB, 11), content(5000, 12)]
    const path = join(await tmp(t), 'store')
    const source = await openAt(t, path)
    for (const blob of blobs) await keep(blob, source)
    for (let trial = 0; trial < 12; trial++) {
      const copy = await crashCopy(t, path)
      await cutLog(join(copy, 'catalog'), Math.random())
      for (const blob of blobs.slice(0, 2)) {
        const at = Math.floor((Math.random() * blob.bytes.length) / 4096) * 4096
        await damage(fileOf(copy, blob), at, Math.min(4096, blob.bytes.length - at))
      }
      const store = await openAt(t, copy)
      for (const blob of blobs) await readRightOrNot(store, blob)
      for (const blob of blobs) await keep(blob, store)
      for (const blob of blobs) await readRightOrNot(store, blob, blob.pieces.length)
      await store[Symbol.asyncDispose]()
    }
  })

  it('costs no second check once a blob has been checked and the store was stopped cleanly', async (t) => {
    const c = content(2 * PIECE, 13)
    const path = await crashed(t, c)
    {
      await using store = await openAt(t, path)
      await using blob = (await store.open(c.digest)) as StoredBlob
      assert.deepEqual(await readAll(blob), c.bytes)
    }
    // What is served raw is not checked here any more: whoever gets it does that.
    await damage(fileOf(path, c), 5)
    await using store = await openAt(t, path)
    await using blob = (await store.open(c.digest)) as StoredBlob
    const raw = await blob.readRaw(0, 0, 10, { signal })
    assert.notDeepEqual(Buffer.from(raw.bytes), c.bytes.subarray(0, 10))
    assert.equal(await blob.recheck(0), false)
  })

  it('leaves no file without a record, and none in the spool', async (t) => {
    const c = content(2 * PIECE, 14)
    const path = await crashed(t, c)
    const stray = fileOf(path, content(2 * PIECE, 15))
    await leaveStrays(stray, path)
    await (await openAt(t, path))[Symbol.asyncDispose]()
    // Also when the first run after the crash was too short for it.
    await (await openAt(t, path)).tidied()
    assert.deepEqual(await readdir(join(path, 'spool')), [])
    await assert.rejects(stat(stray), { code: 'ENOENT' })
    assert.ok((await stat(fileOf(path, c))).isFile())
  })
})

/** What an unclean stop can leave: a blob's file that nobody recorded, and a spool file. */
async function leaveStrays(stray: string, path: string): Promise<void> {
  await mkdir(join(stray, '..'), { recursive: true })
  await writeFile(stray, 'left')
  await mkdir(join(path, 'spool'), { recursive: true })
  await writeFile(join(path, 'spool', 'left'), 'left')
}

/** Cuts the catalog's log at some point of its length, as if the rest had never reached the disk. */
async function cutLog(catalog: string, where: number): Promise<void> {
  for (const name of await readdir(catalog)) {
    if (!name.endsWith('.log')) continue
    const { size } = await stat(join(catalog, name))
    await truncate(join(catalog, name), Math.floor(size * where))
  }
}

/** Zeroes these bytes wherever Level has them. */
async function damageCatalog(catalog: string, bytes: Uint8Array): Promise<void> {
  for (const name of await readdir(catalog)) {
    await using file = await open(join(catalog, name), 'r+')
    const at = (await file.readFile()).indexOf(bytes)
    if (at >= 0) await file.write(Buffer.alloc(bytes.length), 0, bytes.length, at)
  }
}

/** Every piece held reads right, raw and verified, or is refused; at least `least` do. */
async function readRightOrNot(store: DiskStore, c: Content, least = 0): Promise<void> {
  await using blob = await store.open(c.digest)
  let right = 0
  for (const [index, piece] of c.pieces.entries()) {
    if (!blob?.have.has(index)) continue
    try {
      const raw = await blob.readRaw(index, 0, piece.length, { signal })
      assert.equal(Buffer.compare(raw.bytes, piece), 0, 'a wrong byte was served')
      raw.release()
      const verified = await blob.readVerified(index, { signal })
      assert.equal(Buffer.compare(verified.bytes, piece), 0, 'a wrong byte was served')
      verified.release()
      right++
    } catch (error) {
      withCode('STORE_CORRUPT')(error)
    }
  }
  assert.ok(right >= least, `${right} pieces of ${least} are right`)
  await listed(store)
}
