import { createWriteStream } from 'node:fs'
import { rename, rm } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { pipe } from 'it-pipe'
import type { Digest } from '../protocols/digest.ts'
import type { OpenBlob, VerifiedChunk } from './download/download.ts'
import { ShoalError } from './errors.ts'
import type { FetchedBlob } from './shoal-node.ts'

const MAX_BYTES_IN_MEMORY = 1024 * 1024 * 1024

/** Shows an open blob as the public API does; the blob is closed when its bytes have been read, or given up. */
export function createFetchedBlob(blob: OpenBlob, range: { start: number; end: number }, signal: AbortSignal): FetchedBlob {
  let used = false

  async function* bytes(): AsyncGenerator<Uint8Array> {
    if (used) throw new TypeError('the bytes of a fetched blob can be read once: fetch it again')
    used = true
    try {
      yield* pipe(blob.read({ ...range, signal }), ownCopies)
    } finally {
      await blob[Symbol.asyncDispose]()
    }
  }

  return {
    digest: blob.digest,
    size: blob.size,
    mediaType: blob.meta.mediaType,
    get body() {
      return ReadableStream.from(bytes())
    },
    [Symbol.asyncIterator]: () => bytes(),
    async bytes() {
      const length = range.end - range.start
      if (length > MAX_BYTES_IN_MEMORY) {
        await blob[Symbol.asyncDispose]()
        throw new ShoalError('BLOB_TOO_LARGE', `${length} bytes are too many for memory: stream them or use saveTo`)
      }
      const all = new Uint8Array(length)
      let at = 0
      for await (const chunk of bytes()) {
        all.set(chunk, at)
        at += chunk.length
      }
      return all
    },
    async saveTo(path) {
      const temporary = `${path}.${process.pid}.${Math.random().toString(36).slice(2)}.part`
      try {
        await pipeline(bytes(), createWriteStream(temporary))
        await rename(temporary, path)
      } catch (error) {
        await rm(temporary, { force: true })
        throw error
      }
    },
  }
}

/** The caller may keep what it gets, so the pool's buffers go back. */
async function* ownCopies(chunks: AsyncIterable<VerifiedChunk>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    const copy = Uint8Array.from(chunk.bytes)
    chunk.release()
    yield copy
  }
}

/** Checks a caller's range against the size. @throws ShoalError RANGE_INVALID */
export function checkRange(
  range: { start: number; end?: number } | undefined,
  digest: Digest,
  size: number,
): { start: number; end: number } {
  const { start = 0, end = size } = range ?? {}
  const whole = Number.isSafeInteger(start) && Number.isSafeInteger(end)
  if (!whole || start < 0 || end < start || start > size) {
    throw new ShoalError('RANGE_INVALID', `bytes ${start} to ${end} are not a range of ${digest}, which has ${size}`)
  }
  return { start, end: Math.min(end, size) }
}
