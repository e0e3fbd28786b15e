import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { type Digest, type DigestAlgorithm, digestFromBytes, digestOf } from '../../protocols/digest.ts'
import { ShoalError } from '../../protocols/error.ts'
import { geometryOf, pieceLength, pieceOffset } from '../../protocols/pieces.ts'
import { BlobFile } from './blob-file.ts'
import type { DiskParts } from './entry.ts'
import { storeFailure } from './failures.ts'
import { INLINE_BYTES } from './load-entry.ts'
import type { PieceBuffer } from './store.ts'

const CHUNK_BYTES = 1024 * 1024

/** Content that has come in: small, in memory; or in a spool file, with the hashes of its pieces. */
export type Ingested =
  | { readonly digest: Digest; readonly bytes: Buffer }
  | { readonly digest: Digest; readonly size: number; readonly path: string; readonly hashes: readonly Uint8Array[] }

/** Content on its way into a file, in buffers of the pool: one is filled while the thread writes the other. */
class SpoolFile implements AsyncDisposable {
  readonly file: BlobFile
  readonly #parts: DiskParts
  readonly #algorithm: DigestAlgorithm
  readonly #spool: number
  #writing: Promise<void> = Promise.resolve()
  #sealed = false

  constructor(directory: string, algorithm: DigestAlgorithm, parts: DiskParts) {
    this.file = new BlobFile(join(directory, randomBytes(12).toString('hex')))
    this.#parts = parts
    this.#algorithm = algorithm
    this.#spool = parts.thread.newTask()
  }

  /** Takes the first `length` bytes of the buffer and gives it back when they are written. */
  async write(buffer: PieceBuffer, length: number): Promise<void> {
    const before = this.#writing
    this.#writing = this.#append(before, buffer, length)
    this.#writing.catch(() => {})
    await before
  }

  async seal(): Promise<Ingested> {
    await this.#writing
    this.#sealed = true
    const { thread } = this.#parts
    const { hex, size, first, hashes } = await thread.call({ op: 'seal', spool: this.#spool })
    const digest = digestFromBytes(this.#algorithm, Buffer.from(hex, 'hex'))
    const geometry = geometryOf(size)
    const before: Uint8Array[] = []
    await this.file.use(async (fd) => {
      for (let i = 0; i < first; i++) {
        before.push(await thread.call({ op: 'hash', fd, offset: pieceOffset(geometry, i), length: pieceLength(geometry, i) }))
      }
    })
    return { digest, size, path: this.file.path, hashes: [...before, ...hashes] }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writing.catch(() => {})
    if (!this.#sealed) await this.#parts.thread.call({ op: 'seal', spool: this.#spool }).catch(() => {})
    this.file.close()
    await this.file.remove()
  }

  async #append(before: Promise<void>, buffer: PieceBuffer, length: number): Promise<void> {
    try {
      await before
      const bytes = buffer.bytes.subarray(0, length)
      await this.file.create()
      await this.file.use((fd) =>
        this.#parts.thread.call({ op: 'append', spool: this.#spool, fd, algorithm: this.#algorithm, bytes }),
      )
    } catch (error) {
      throw storeFailure(error, 'bringing content in')
    } finally {
      buffer.release()
    }
  }
}

/**
 * Brings a stream in, and lets `place` make a blob of it. Its file is gone afterwards unless `place` moved it.
 * @throws ShoalError DIGEST_MISMATCH, STORE_FULL, STORE_FAILED, BLOB_TOO_LARGE, or what the source or the signal says
 */
export async function ingest<T>(
  source: AsyncIterable<Uint8Array>,
  options: { directory: string; expected: Digest | undefined; parts: DiskParts; signal: AbortSignal },
  place: (content: Ingested) => Promise<T>,
): Promise<T> {
  const { directory, expected, parts, signal } = options
  const algorithm = expected?.algorithm ?? 'sha256'
  await using spool = new SpoolFile(directory, algorithm, parts)
  const small = await pour(source, spool, parts, signal)
  const content = small === undefined ? await spool.seal() : { digest: digestOf(small, algorithm), bytes: small }
  if (expected !== undefined && !content.digest.equals(expected)) {
    throw new ShoalError('DIGEST_MISMATCH', `the content is ${content.digest}, not ${expected}`)
  }
  return await place(content)
}

/** @returns the bytes when they are few; otherwise they are in the spool */
async function pour(
  source: AsyncIterable<Uint8Array>,
  spool: SpoolFile,
  parts: DiskParts,
  signal: AbortSignal,
): Promise<Buffer | undefined> {
  let written = false
  for await (const { buffer, length } of filled(source, parts, signal)) {
    // Only the last can be short: when it is the first too, it is all.
    if (!written && length <= INLINE_BYTES) {
      const bytes = Buffer.from(buffer.bytes.subarray(0, length))
      buffer.release()
      return bytes
    }
    written = true
    await spool.write(buffer, length)
  }
  return written ? undefined : Buffer.alloc(0)
}

/** The source's bytes in buffers of the pool, all but the last full. Whoever takes one releases it. */
async function* filled(
  source: AsyncIterable<Uint8Array>,
  { pool }: DiskParts,
  signal: AbortSignal,
): AsyncGenerator<{ buffer: PieceBuffer; length: number }> {
  let buffer: PieceBuffer | undefined
  let length = 0
  let total = 0
  try {
    for await (const chunk of source) {
      signal.throwIfAborted()
      total += chunk.length
      geometryOf(total)
      for (let at = 0; at < chunk.length; ) {
        buffer ??= await pool.get(CHUNK_BYTES, { signal })
        const taken = chunk.subarray(at, at + CHUNK_BYTES - length)
        buffer.bytes.set(taken, length)
        length += taken.length
        at += taken.length
        if (length < CHUNK_BYTES) continue
        const full = buffer
        buffer = undefined
        length = 0
        yield { buffer: full, length: CHUNK_BYTES }
      }
    }
    signal.throwIfAborted()
    if (buffer === undefined) return
    const last = buffer
    buffer = undefined
    yield { buffer: last, length }
  } finally {
    buffer?.release()
  }
}
