import type { Readable } from 'node:stream'
import { ShoalError } from '../../protocols/error.ts'
import { transportFailure } from './failure.ts'
import type { HttpAnswer } from './http.ts'
import { shownUrl } from './redirect.ts'

export interface BodyBounds {
  /** What it has to have, exactly. */
  readonly length?: number | undefined
  /** It may not have more than this. */
  readonly maxBytes?: number | undefined
  /** No more than this is wanted: the rest is dropped. */
  readonly wantedBytes?: number | undefined
}

/**
 * An answer's bytes, no faster than they are read, and never more or fewer than said without an error.
 * @throws ShoalError ORIGIN_UNREACHABLE (cut), ORIGIN_TIMEOUT (no progress), ORIGIN_PROTOCOL (too long or short), or the signal's reason
 */
export async function* readBody(
  answer: HttpAnswer,
  bounds: BodyBounds,
  options: { signal: AbortSignal },
): AsyncGenerator<Uint8Array> {
  const { length, maxBytes = Number.POSITIVE_INFINITY } = bounds
  // Stopping one byte before an end that comes anyway would cost the connection.
  const wanted = bounds.wantedBytes ?? Number.POSITIVE_INFINITY
  const wantedBytes = length !== undefined && wanted >= length ? Number.POSITIVE_INFINITY : wanted
  const where = shownUrl(answer.url)
  let read = 0
  try {
    for await (const chunk of chunksOf(answer.body, where, options.signal)) {
      read += chunk.length
      if (read > (length ?? maxBytes) || read > maxBytes)
        throw new ShoalError('ORIGIN_PROTOCOL', `${where} sends more than the ${length ?? maxBytes} bytes it may`)
      const turn = answer.pace?.(chunk.length, options)
      if (turn !== undefined) await turn
      if (read < wantedBytes) {
        yield chunk
        continue
      }
      yield chunk.subarray(0, chunk.length - (read - wantedBytes))
      return
    }
    if (length !== undefined && read < length)
      throw new ShoalError('ORIGIN_UNREACHABLE', `${where} ended after ${read} of ${length} bytes`)
  } finally {
    answer.body.destroy()
  }
}

/** All of a small body. @throws as readBody */
export async function readWhole(answer: HttpAnswer, maxBytes: number, options: { signal: AbortSignal }): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of readBody(answer, { maxBytes }, options)) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** The stream's chunks, with its failures in our codes. */
async function* chunksOf(body: Readable, where: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    for await (const chunk of body) yield chunk as Uint8Array
  } catch (error) {
    signal.throwIfAborted()
    throw transportFailure(error, where)
  }
}
