import assert from 'node:assert/strict'
import { createCipheriv, hash } from 'node:crypto'
import { describe, it, type TestContext } from 'node:test'
import { type Digest, digestOf } from '../../protocols/digest.ts'
import type { ErrorCode } from '../../protocols/error.ts'
import { geometryOf, pieceLength } from '../../protocols/pieces.ts'
import { codeOf } from '../../src/errors.ts'
import type { BlobInfo, BlobWriter, Store, StoredBlob, TagRecord } from '../../src/store/store.ts'

const KiB = 1024
const signal = new AbortController().signal

/** Opens a store for one test; it is closed (and its place removed) when the test ends. */
export type OpenStore = (t: TestContext, options: { maxTags?: number }) => Promise<Store>

export interface Content {
  readonly bytes: Uint8Array
  readonly digest: Digest
  readonly pieces: readonly Uint8Array[]
  readonly hashes: readonly Uint8Array[]
}

/** Bytes that differ for each seed and at each place, with all that there is to know about them. */
export function content(size: number, seed: number, algorithm: 'sha256' | 'sha512' = 'sha256'): Content {
  const key = hash('sha256', `content ${seed}`, 'buffer')
  const bytes = createCipheriv('aes-256-ctr', key, Buffer.alloc(16)).update(Buffer.alloc(size))
  const geometry = geometryOf(size)
  const pieces = Array.from({ length: geometry.pieces }, (_, i) =>
    bytes.subarray(i * geometry.pieceBytes, i * geometry.pieceBytes + pieceLength(geometry, i)),
  )
  return { bytes, digest: digestOf(bytes, algorithm), pieces, hashes: pieces.map((p) => hash('sha256', p, 'buffer')) }
}

export function withCode(code: ErrorCode): (error: unknown) => boolean {
  return (error) => {
    assert.equal(codeOf(error), code, String(error))
    return true
  }
}

export async function readAll(blob: StoredBlob): Promise<Buffer> {
  const parts: Buffer[] = []
  for (let i = 0; i < blob.geometry.pieces; i++) {
    const piece = await blob.readVerified(i, { signal })
    parts.push(Buffer.from(piece.bytes))
    piece.release()
  }
  return Buffer.concat(parts)
}

export async function putAll(writer: BlobWriter, from: Content, order?: readonly number[]): Promise<void> {
  for (const i of order ?? from.pieces.keys()) await writer.put(i, from.pieces[i] as Uint8Array, from.hashes[i])
}

export async function keep(blob: Content, into: Store): Promise<void> {
  await using writer = await into.write(blob.digest, blob.bytes.length)
  await putAll(writer, blob)
  await writer.commit({})
}

export async function listed(s: Store): Promise<BlobInfo[]> {
  const infos: BlobInfo[] = []
  for await (const info of s.list()) infos.push(info)
  return infos
}

export async function* stream(bytes: Uint8Array, chunkBytes: number): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += chunkBytes) yield bytes.subarray(at, at + chunkBytes)
}

const SIZES = [1, 16 * KiB, 64 * KiB, 64 * KiB + 1, 256 * KiB, 256 * KiB + 1, 1024 * KiB + 7]

/** What every Store owes its callers. */
export function storeConformance(name: string, open: OpenStore): void {
  describe(`${name} as a Store`, () => {
    writing(open)
    committing(open)
    handles(open)
    ingesting(open)
    books(open)
  })
}

function writing(open: OpenStore): void {
  it('knows nothing of a blob that was never put', async (t) => {
    const s = await open(t, {})
    assert.equal(await s.open(content(5, 0).digest), undefined)
    assert.equal(await s.delete(content(5, 0).digest), false)
    await assert.rejects(s.setMeta(content(5, 0).digest, {}), withCode('BLOB_UNKNOWN'))
  })

  it('shows a piece once it was put, and reads it back whole and in part', async (t) => {
    const s = await open(t, {})
    const c = content(600 * KiB, 1)
    await using writer = await s.write(c.digest, c.bytes.length)
    assert.equal(await s.open(c.digest), undefined)
    const got = await writer.put(1, c.pieces[1] as Uint8Array, c.hashes[1])
    assert.deepEqual(Buffer.from(got), c.hashes[1])
    await using blob = await s.open(c.digest)
    assert.ok(blob)
    assert.deepEqual(
      [...Array(3).keys()].map((i) => blob.have.has(i)),
      [false, true, false],
    )
    assert.equal(blob.complete, false)
    const whole = await blob.readVerified(1, { signal })
    assert.deepEqual(Buffer.from(whole.bytes), c.pieces[1])
    whole.release()
    const part = await blob.readRaw(1, 100, 1000, { signal })
    assert.deepEqual(Buffer.from(part.bytes), c.pieces[1]?.subarray(100, 1100))
    part.release()
    assert.deepEqual(
      await blob.hashes(0, 9),
      [undefined, c.hashes[1], undefined].map((h) => h && Uint8Array.from(h)),
    )
    await assert.rejects(blob.readVerified(0, { signal }), withCode('BLOB_UNKNOWN'))
    await assert.rejects(blob.readRaw(2, 0, 1, { signal }), withCode('BLOB_UNKNOWN'))
    await assert.rejects(blob.readRaw(1, 0, 256 * KiB + 1, { signal }), RangeError)
    assert.equal(await blob.recheck(1), true)
    assert.equal(await blob.recheck(0), false)
  })

  it('refuses a piece whose hash is not the one expected, and keeps nothing of it', async (t) => {
    const s = await open(t, {})
    const c = content(600 * KiB, 2)
    await using writer = await s.write(c.digest, c.bytes.length)
    await assert.rejects(writer.put(0, c.pieces[1] as Uint8Array, c.hashes[0]), withCode('PIECE_MISMATCH'))
    assert.equal(writer.have.count, 0)
    assert.equal(await s.open(c.digest), undefined)
    await assert.rejects(writer.put(0, (c.pieces[0] as Uint8Array).subarray(1), undefined), TypeError)
    await assert.rejects(writer.put(3, c.pieces[0] as Uint8Array, undefined), RangeError)
  })

  for (const algorithm of ['sha256', 'sha512'] as const) {
    for (const size of [10 * KiB, 200 * KiB]) {
      it(`checks a ${algorithm} blob of one piece of ${size} bytes against its digest, whatever hash was expected`, async (t) => {
        const s = await open(t, {})
        const c = content(size, 3, algorithm)
        const wrong = content(size, 4)
        await using writer = await s.write(c.digest, size)
        await assert.rejects(writer.put(0, wrong.bytes, wrong.hashes[0]), withCode('PIECE_MISMATCH'))
        await assert.rejects(writer.put(0, wrong.bytes, undefined), withCode('PIECE_MISMATCH'))
        assert.equal(writer.have.count, 0)
        assert.deepEqual(Buffer.from(await writer.put(0, c.bytes, undefined)), c.hashes[0])
        await writer.commit({})
        assert.equal(writer.complete, true)
      })
    }
  }

  it('takes a held piece again without complaint', async (t) => {
    const s = await open(t, {})
    const c = content(600 * KiB, 5)
    await using writer = await s.write(c.digest, c.bytes.length)
    const twice = [writer.put(0, c.pieces[0] as Uint8Array, c.hashes[0]), writer.put(0, c.pieces[0] as Uint8Array, c.hashes[0])]
    for (const got of await Promise.all(twice)) assert.deepEqual(Buffer.from(got), c.hashes[0])
    await writer.put(0, c.pieces[0] as Uint8Array, undefined)
    assert.equal(writer.have.count, 1)
    assert.deepEqual(await s.usage(), { blobs: 1, bytes: 256 * KiB })
  })

  it('gives receive buffers of the length asked for, and takes pieces from them', async (t) => {
    const s = await open(t, {})
    const c = content(300 * KiB, 6)
    await using writer = await s.write(c.digest, c.bytes.length)
    for (const [i, piece] of c.pieces.entries()) {
      const buffer = await writer.buffer(piece.length, { signal })
      assert.equal(buffer.bytes.length, piece.length)
      buffer.bytes.set(piece)
      await writer.put(i, buffer.bytes, c.hashes[i])
      buffer.release()
    }
    await writer.commit({})
    assert.deepEqual(await readAll(writer), c.bytes)
  })

  it('lets one writer at a time work on a blob, and the next resume', async (t) => {
    const s = await open(t, {})
    const c = content(600 * KiB, 7)
    {
      await using writer = await s.write(c.digest, c.bytes.length)
      await assert.rejects(s.write(c.digest, c.bytes.length), withCode('STORE_FAILED'))
      await writer.put(2, c.pieces[2] as Uint8Array, c.hashes[2])
    }
    await using writer = await s.write(c.digest, c.bytes.length)
    assert.equal(writer.have.has(2), true)
    await putAll(writer, c, [0, 1])
    await writer.commit({})
    assert.deepEqual(await readAll(writer), c.bytes)
  })

  it('keeps nothing of a writer that put nothing', async (t) => {
    const s = await open(t, {})
    const c = content(600 * KiB, 8)
    await (await s.write(c.digest, c.bytes.length))[Symbol.asyncDispose]()
    assert.equal(await s.open(c.digest), undefined)
    assert.deepEqual(await listed(s), [])
    await (await s.write(c.digest, 5))[Symbol.asyncDispose]()
  })

  it('begins anew when a partial blob turns out to have another size, and refuses that for a verified one', async (t) => {
    const s = await open(t, {})
    const c = content(600 * KiB, 9)
    {
      await using wrong = await s.write(c.digest, 2000 * KiB)
      await wrong.put(0, c.pieces[0] as Uint8Array, undefined)
    }
    await keep(c, s)
    await assert.rejects(s.write(c.digest, 2000 * KiB), withCode('STORE_FAILED'))
    assert.deepEqual(await s.usage(), { blobs: 1, bytes: c.bytes.length })
  })

  it('refuses a size that no blob can have', async (t) => {
    const s = await open(t, {})
    await assert.rejects(s.write(content(1, 0).digest, 2 ** 41), withCode('BLOB_TOO_LARGE'))
  })
}

function committing(open: OpenStore): void {
  for (const algorithm of ['sha256', 'sha512'] as const) {
    for (const size of SIZES) {
      it(`commits a ${algorithm} blob of ${size} bytes that was put last piece first`, async (t) => {
        const s = await open(t, {})
        const c = content(size, 10, algorithm)
        {
          await using writer = await s.write(c.digest, size)
          await putAll(writer, c, [...c.pieces.keys()].reverse())
          await writer.commit({ mediaType: 'text/plain' })
        }
        await using blob = await s.open(c.digest)
        assert.equal(blob?.complete, true)
        assert.deepEqual(blob?.meta, { mediaType: 'text/plain' })
        assert.deepEqual(await readAll(blob as StoredBlob), c.bytes)
        assert.deepEqual(
          await blob?.hashes(0, c.pieces.length),
          c.hashes.map((h) => Uint8Array.from(h)),
        )
      })
    }
  }

  it('commits pieces put all at once', async (t) => {
    const s = await open(t, {})
    const c = content(3000 * KiB, 11)
    await using writer = await s.write(c.digest, c.bytes.length)
    await Promise.all(c.pieces.map((piece, i) => writer.put(i, piece, c.hashes[i])))
    await writer.commit({})
    assert.deepEqual(await readAll(writer), c.bytes)
  })

  it('holds the empty blob', async (t) => {
    const s = await open(t, {})
    const c = content(0, 0)
    {
      await using writer = await s.write(c.digest, 0)
      await writer.commit({})
    }
    await using blob = await s.open(c.digest)
    assert.equal(blob?.complete, true)
    assert.equal(blob?.geometry.pieces, 0)
    assert.deepEqual(await s.usage(), { blobs: 1, bytes: 0 })
    await using lie = await s.write(content(1, 1).digest, 0)
    await assert.rejects(lie.commit({}), withCode('DIGEST_MISMATCH'))
  })

  it('does not commit what lacks pieces', async (t) => {
    const s = await open(t, {})
    const c = content(600 * KiB, 12)
    await using writer = await s.write(c.digest, c.bytes.length)
    await putAll(writer, c, [0, 2])
    await assert.rejects(writer.commit({}), withCode('STORE_CORRUPT'))
  })

  it('commits nothing when the whole digest is wrong, and can once the wrong piece was replaced', async (t) => {
    const s = await open(t, {})
    const c = content(1500 * KiB, 13)
    const lie = content(256 * KiB, 14)
    await using writer = await s.write(c.digest, c.bytes.length)
    await putAll(writer, c, [0, 1, 3, 4, 5])
    await writer.put(2, lie.bytes, lie.hashes[0])
    await assert.rejects(writer.commit({}), withCode('DIGEST_MISMATCH'))
    await assert.rejects(writer.commit({}), withCode('DIGEST_MISMATCH'))
    assert.equal(writer.have.complete, true)
    assert.equal(writer.complete, false)
    await writer.drop([2])
    assert.equal(writer.have.has(2), false)
    assert.deepEqual(await writer.hashes(2, 1), [undefined])
    await writer.put(2, c.pieces[2] as Uint8Array, c.hashes[2])
    await writer.commit({})
    assert.equal(writer.complete, true)
    assert.deepEqual(await readAll(writer), c.bytes)
  })

  it('takes nothing but the truth for a piece of a blob that was verified once', async (t) => {
    const s = await open(t, {})
    const c = content(600 * KiB, 15)
    const lie = content(256 * KiB, 16)
    await keep(c, s)
    await using writer = await s.write(c.digest, c.bytes.length)
    assert.equal(writer.complete, true)
    await writer.drop([1])
    assert.equal(writer.complete, false)
    await assert.rejects(writer.put(1, lie.bytes, lie.hashes[0]), withCode('PIECE_MISMATCH'))
    await writer.put(1, c.pieces[1] as Uint8Array, undefined)
    await writer.commit({})
    assert.deepEqual(await readAll(writer), c.bytes)
  })
}

function handles(open: OpenStore): void {
  it('shows every handle what a writer puts and drops, as it does', async (t) => {
    const s = await open(t, {})
    const c = content(600 * KiB, 20)
    await using writer = await s.write(c.digest, c.bytes.length)
    await writer.put(0, c.pieces[0] as Uint8Array, c.hashes[0])
    await using a = await s.open(c.digest)
    await using b = await s.open(c.digest)
    await putAll(writer, c, [1, 2])
    assert.equal(a?.have.count, 3)
    await writer.drop([1])
    assert.equal(b?.have.has(1), false)
    await putAll(writer, c, [1])
    await writer.commit({ mediaType: 'a/b' })
    assert.equal(a?.complete, true)
    assert.equal(b?.meta.mediaType, 'a/b')
  })

  for (const size of [16 * KiB, 600 * KiB]) {
    it(`lets open handles of ${size} bytes go on when the blob is deleted`, async (t) => {
      const s = await open(t, {})
      const c = content(size, 21)
      await keep(c, s)
      await using blob = await s.open(c.digest)
      assert.equal(await s.delete(c.digest), true)
      assert.equal(await s.delete(c.digest), false)
      assert.equal(await s.open(c.digest), undefined)
      assert.deepEqual(await s.usage(), { blobs: 0, bytes: 0 })
      await keep(content(size, 22), s)
      assert.deepEqual(await readAll(blob as StoredBlob), c.bytes)
      await keep(c, s)
      await using again = await s.open(c.digest)
      assert.deepEqual(await readAll(again as StoredBlob), c.bytes)
      assert.deepEqual(await readAll(blob as StoredBlob), c.bytes)
    })

    it(`lets a writer of ${size} bytes finish for its readers when the blob is deleted, and keeps nothing`, async (t) => {
      const s = await open(t, {})
      const c = content(size, 23)
      {
        await using writer = await s.write(c.digest, c.bytes.length)
        await putAll(writer, c, [0])
        await s.delete(c.digest)
        await putAll(writer, c)
        await writer.commit({})
        assert.deepEqual(await readAll(writer), c.bytes)
      }
      assert.equal(await s.open(c.digest), undefined)
      assert.deepEqual(await s.usage(), { blobs: 0, bytes: 0 })
      await keep(c, s)
    })
  }

  it('stops before it starts when the signal says so', async (t) => {
    const s = await open(t, {})
    const c = content(600 * KiB, 24)
    await keep(c, s)
    await using writer = await s.write(c.digest, c.bytes.length)
    const aborted = AbortSignal.abort(new Error('enough'))
    await assert.rejects(writer.readVerified(0, { signal: aborted }), /enough/)
    await assert.rejects(writer.readRaw(0, 0, 5, { signal: aborted }), /enough/)
    await assert.rejects(writer.buffer(5, { signal: aborted }), /enough/)
  })
}

function ingesting(open: OpenStore): void {
  for (const algorithm of ['sha256', 'sha512'] as const) {
    for (const size of [0, ...SIZES]) {
      it(`brings in a stream of ${size} bytes by ${algorithm}`, async (t) => {
        const s = await open(t, {})
        const c = content(size, 30, algorithm)
        const info = await s.ingest(stream(c.bytes, 100_000), {
          ...(algorithm === 'sha512' ? { expected: c.digest } : {}),
          meta: { mediaType: 'x/y' },
          signal,
        })
        assert.equal(info.digest.toString(), c.digest.toString())
        assert.equal(info.complete, true)
        assert.equal(info.heldBytes, size)
        await using blob = await s.open(c.digest)
        assert.equal(blob?.meta.mediaType, 'x/y')
        assert.deepEqual(await readAll(blob as StoredBlob), c.bytes)
        assert.deepEqual(
          await blob?.hashes(0, c.pieces.length),
          c.hashes.map((h) => Uint8Array.from(h)),
        )
      })
    }
  }

  it('keeps nothing of a stream that is not what was expected, that fails, or that is stopped', async (t) => {
    const s = await open(t, {})
    for (const size of [10 * KiB, 600 * KiB]) {
      const c = content(size, 31)
      const other = content(size, 32)
      await assert.rejects(s.ingest(stream(c.bytes, 65_536), { expected: other.digest, signal }), withCode('DIGEST_MISMATCH'))
      async function* failing() {
        yield c.bytes
        throw new Error('cut')
      }
      await assert.rejects(s.ingest(failing(), { signal }), /cut/)
      const stop = new AbortController()
      async function* stopped() {
        yield c.bytes.subarray(0, size / 2)
        stop.abort(new Error('stopped'))
        yield c.bytes.subarray(size / 2)
      }
      await assert.rejects(s.ingest(stopped(), { signal: stop.signal }), /stopped/)
      assert.equal(await s.open(c.digest), undefined)
      assert.equal(await s.open(other.digest), undefined)
    }
    assert.deepEqual(await s.usage(), { blobs: 0, bytes: 0 })
  })

  it('brings in what it holds already, in whole or in part', async (t) => {
    const s = await open(t, {})
    const c = content(600 * KiB, 33)
    await using writer = await s.write(c.digest, c.bytes.length)
    await writer.put(1, c.pieces[1] as Uint8Array, c.hashes[1])
    await s.ingest(stream(c.bytes, 10_000), { signal })
    await s.ingest(stream(c.bytes, 10_000), { signal })
    await using blob = await s.open(c.digest)
    assert.deepEqual(await readAll(blob as StoredBlob), c.bytes)
    await putAll(writer, c)
    await writer.commit({})
    assert.deepEqual(await readAll(writer), c.bytes)
    assert.deepEqual(await s.usage(), { blobs: 1, bytes: c.bytes.length })
  })
}

function books(open: OpenStore): void {
  it('lists what it holds and counts the bytes', async (t) => {
    const s = await open(t, {})
    const small = content(1000, 40)
    const big = content(600 * KiB, 41)
    const partial = content(700 * KiB, 42)
    await keep(small, s)
    await keep(big, s)
    await using writer = await s.write(partial.digest, partial.bytes.length)
    await putAll(writer, partial, [1])
    const before = Date.now() + 1
    const infos = (await listed(s)).sort((a, b) => a.size - b.size)
    assert.deepEqual(
      infos.map((i) => [i.digest.toString(), i.size, i.complete, i.heldBytes]),
      [
        [small.digest.toString(), 1000, true, 1000],
        [big.digest.toString(), 600 * KiB, true, 600 * KiB],
        [partial.digest.toString(), 700 * KiB, false, 256 * KiB],
      ],
    )
    for (const info of infos) assert.ok(info.storedAt <= before && info.storedAt > before - 60_000)
    assert.deepEqual(await s.usage(), { blobs: 3, bytes: 1000 + 856 * KiB })
    await writer.drop([1])
    await s.delete(big.digest)
    assert.deepEqual(await s.usage(), { blobs: 1, bytes: 1000 })
  })

  it('keeps what is known about a blob', async (t) => {
    const s = await open(t, {})
    const c = content(600 * KiB, 43)
    await keep(c, s)
    await using blob = await s.open(c.digest)
    const meta = { mediaType: 'a/b', restrictedTo: ['docker.io/me/private'] }
    await s.setMeta(c.digest, meta)
    assert.deepEqual(blob?.meta, meta)
    assert.deepEqual((await listed(s))[0]?.meta, meta)
    await s.setMeta(c.digest, {})
    assert.deepEqual(blob?.meta, {})
  })

  it('takes what is known about a blob before its first piece, and keeps it with the pieces', async (t) => {
    const s = await open(t, {})
    const c = content(600 * KiB, 7)
    const meta = { restrictedTo: ['reg.test/team/app'] }
    {
      await using writer = await s.write(c.digest, c.bytes.length)
      await s.setMeta(c.digest, meta)
      await writer.put(0, c.pieces[0] as Uint8Array, c.hashes[0])
    }
    await using blob = await s.open(c.digest)
    assert.deepEqual(blob?.meta, meta)
  })

  it('remembers tags, the latest word of each', async (t) => {
    const s = await open(t, {})
    const record = tag(1)
    assert.equal(await s.tags.get('docker.io/library/nginx:1'), undefined)
    await s.tags.set('docker.io/library/nginx:1', record)
    assert.deepEqual(await s.tags.get('docker.io/library/nginx:1'), record)
    await s.tags.set('docker.io/library/nginx:1', tag(2))
    assert.deepEqual(await s.tags.get('docker.io/library/nginx:1'), tag(2))
    await s.tags.delete('docker.io/library/nginx:1')
    await s.tags.delete('docker.io/library/nginx:1')
    assert.equal(await s.tags.get('docker.io/library/nginx:1'), undefined)
  })

  it('forgets the oldest tags when there are too many', async (t) => {
    const s = await open(t, { maxTags: 3 })
    for (const name of ['a', 'b', 'c', 'a', 'd']) await s.tags.set(name, tag(1))
    const left = await Promise.all(['a', 'b', 'c', 'd'].map(async (name) => (await s.tags.get(name)) !== undefined))
    assert.deepEqual(left, [true, false, true, true])
  })
}

function tag(seed: number): TagRecord {
  return {
    digest: content(seed, seed).digest,
    mediaType: 'a/b',
    size: seed,
    checkedAt: 1_700_000_000_000 + seed,
    restricted: false,
  }
}
