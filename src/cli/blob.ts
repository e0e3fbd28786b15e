import { createHash } from 'node:crypto'
import type { Digest } from '../../protocols/digest.ts'
import { ShoalError } from '../../protocols/error.ts'
import type { ControlClient } from './client.ts'

/** A blob and where it may be imported from, as the control listener takes them. */
export interface BlobAddress {
  readonly digest: Digest
  readonly origin?: string | undefined
  readonly kind?: 'blob' | 'manifest' | undefined
}

/** How far the node is; the last one of a fetch that went well has `done`. */
export interface FetchProgress {
  readonly size: number
  readonly heldBytes: number
  readonly done?: boolean
  readonly mediaType?: string
}

export interface BringOptions {
  readonly signal: AbortSignal
  readonly onProgress?: ((progress: { doneBytes: number; totalBytes: number }) => void) | undefined
}

/** Brings a whole blob into the node. @throws ShoalError as the node does */
export async function bringBlob(
  client: ControlClient,
  blob: BlobAddress,
  { signal, onProgress }: BringOptions,
): Promise<FetchProgress> {
  const { digest, origin, kind } = blob
  let last: FetchProgress | undefined
  for await (const line of client.lines<FetchProgress>('POST', `/v1/blobs/${digest}`, { signal, query: { origin, kind } })) {
    onProgress?.({ doneBytes: line.heldBytes, totalBytes: line.size })
    last = line
  }
  if (last?.done !== true) throw new ShoalError('DAEMON_UNREACHABLE', `the daemon stopped before it had ${digest}`)
  return last
}

/**
 * Reads a blob as it comes into the node, and checks its digest once more here. Beside it the node is asked to bring in the whole:
 * that tells why, where a body is cut.
 * @throws ShoalError as the node does; DIGEST_MISMATCH
 */
export async function* readBlob(client: ControlClient, blob: BlobAddress, options: BringOptions): AsyncIterable<Uint8Array> {
  const { digest, origin, kind } = blob
  const stop = new AbortController()
  const signal = AbortSignal.any([options.signal, stop.signal])
  const whole = bringBlob(client, blob, { signal })
  whole.catch(() => {})
  try {
    const res = await client.request('GET', `/v1/blobs/${digest}`, { signal, query: { origin, kind } })
    const totalBytes = Number(res.headers['content-length'])
    const hash = createHash(digest.algorithm)
    let doneBytes = 0
    for await (const part of res as AsyncIterable<Buffer>) {
      hash.update(part)
      doneBytes += part.length
      options.onProgress?.({ doneBytes, totalBytes })
      yield part
    }
    if (hash.digest('hex') !== digest.hex) throw new ShoalError('DIGEST_MISMATCH', `what the daemon sent is not ${digest}`)
  } catch (error) {
    options.signal.throwIfAborted()
    await whole
    throw error instanceof ShoalError ? error : new ShoalError('DAEMON_UNREACHABLE', `the daemon cut ${digest}`, { cause: error })
  } finally {
    stop.abort()
  }
}

/** A small blob in memory. @throws ShoalError as readBlob; BLOB_TOO_LARGE */
export async function readSmallBlob(
  client: ControlClient,
  blob: BlobAddress,
  options: { maxBytes: number; signal: AbortSignal },
): Promise<Buffer> {
  const parts: Uint8Array[] = []
  let bytes = 0
  for await (const part of readBlob(client, blob, { signal: options.signal })) {
    bytes += part.length
    if (bytes > options.maxBytes)
      throw new ShoalError('BLOB_TOO_LARGE', `${blob.digest} has more than the ${options.maxBytes} bytes it may have`)
    parts.push(part)
  }
  return Buffer.concat(parts)
}
