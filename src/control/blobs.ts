import type { IncomingMessage, ServerResponse } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import type { Digest } from '../../protocols/digest.ts'
import { ShoalError } from '../../protocols/error.ts'
import { contentRange, parseRange } from '../../protocols/http-range.ts'
import type { OpenBlob, VerifiedChunk } from '../download/download.ts'
import { describeError } from '../errors.ts'
import type { OriginSource } from '../origin/origin.ts'
import type { BlobInfo, BlobMeta } from '../store/store.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { answerJson, sendChunks, writeLine } from './answer.ts'
import type { ControlBackend } from './backend.ts'

/** What every answer about blobs needs. */
export interface BlobContext {
  readonly node: ControlBackend
  readonly metrics: Pick<Metrics, 'served'>
  /** Whether the caller may read what was fetched with somebody's credentials: it showed the operator's token, or all is shared. */
  readonly trusted: boolean
  /** Aborted when the caller is gone or the listener closes. */
  readonly signal: AbortSignal
}

interface BlobRequest {
  readonly digest: Digest
  readonly origin: OriginSource | undefined
}

/** `GET` and `HEAD /v1/blobs/{digest}`. */
export async function readBlob(
  req: IncomingMessage,
  res: ServerResponse,
  request: BlobRequest,
  context: BlobContext,
): Promise<void> {
  await using blob = await openFor(request, context)
  const range = parseRange(req.headers.range, blob.size)
  if (range === 'unsatisfiable') {
    throw new ShoalError('RANGE_INVALID', `the blob has ${blob.size} bytes`, { detail: { size: blob.size } })
  }
  const { start, end } = range ?? { start: 0, end: blob.size }
  if (range !== undefined) res.setHeader('content-range', contentRange(range, blob.size))
  res.writeHead(range === undefined ? 200 : 206, {
    'content-type': blob.meta.mediaType ?? 'application/octet-stream',
    'content-length': end - start,
    'accept-ranges': 'bytes',
    etag: `"${blob.digest}"`,
  })
  if (req.method === 'HEAD' || end === start) {
    res.end()
    return
  }
  res.flushHeaders()
  await sendChunks(res, permitted(blob, start, end, context), { onSent: (bytes) => context.metrics.served('client', bytes) })
}

/** How often a caller that waits for a blob hears how far it is. */
const PROGRESS_MS = 200

/** `POST /v1/blobs/{digest}`: brings the whole into the node, with a line of JSON each time there is news, and one at the end. */
export async function fetchBlob(res: ServerResponse, request: BlobRequest, context: BlobContext): Promise<void> {
  await using blob = await openFor(request, context)
  const { digest, size } = blob
  res.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store' })
  let state: 'running' | 'done' | { failed: unknown } = 'running'
  const whole = blob.whole({ signal: context.signal }).then(
    () => {
      state = 'done'
    },
    (failed: unknown) => {
      state = { failed }
    },
  )
  const timer = new AbortController()
  while ((await Promise.race([whole, delay(PROGRESS_MS, 'tick', { signal: timer.signal })])) === 'tick') {
    const progress = (await context.node.status()).downloads.find((d) => d.digest.equals(digest))
    const { heldBytes = 0, fromPeersBytes = 0, fromOriginBytes = 0 } = progress ?? {}
    await writeLine(res, `${JSON.stringify({ digest, size, heldBytes, fromPeersBytes, fromOriginBytes })}\n`)
  }
  timer.abort()
  const failed = ended(state)
  const line = failed === undefined ? { digest, size, heldBytes: size, mediaType: blob.meta.mediaType, done: true } : failed
  res.end(`${JSON.stringify(line)}\n`)
}

/** `DELETE /v1/blobs/{digest}`. */
export async function removeBlob(res: ServerResponse, digest: Digest, context: BlobContext): Promise<void> {
  if (!(await context.node.remove(digest))) throw new ShoalError('BLOB_UNKNOWN', `this node does not hold ${digest}`)
  res.writeHead(204).end()
}

/** How long a caller that was refused in the middle of an upload may go on sending before it is cut. */
const DRAIN_MS = 5_000
/** An upload without a byte for this long is given up. */
const UPLOAD_IDLE_MS = 120_000

/** `POST /v1/blobs`. */
export async function addBlob(
  req: IncomingMessage,
  res: ServerResponse,
  request: { readonly mediaType: string | undefined },
  context: BlobContext,
): Promise<void> {
  req.setTimeout(UPLOAD_IDLE_MS, () => req.destroy(new Error('the upload stopped')))
  const options = { signal: context.signal, ...(request.mediaType === undefined ? {} : { mediaType: request.mediaType }) }
  try {
    // leaving the loop early must not destroy the socket: the refusal goes out on it
    const { digest, size } = await context.node.add(req.iterator({ destroyOnReturn: false }), options)
    answerJson(res, 201, { digest, size })
  } catch (error) {
    // a caller that is still sending hears the refusal only if what it sends is taken
    req.resume()
    const cut = setTimeout(() => req.destroy(), DRAIN_MS).unref()
    req.once('close', () => clearTimeout(cut))
    throw error
  }
}

/** `GET /v1/blobs`: as the catalog gives them, however many. */
export async function listBlobs(res: ServerResponse, context: BlobContext): Promise<void> {
  res.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' })
  let separator = '{"blobs":[\n'
  if (res.req.method !== 'HEAD') {
    for await (const info of context.node.list()) {
      await writeLine(res, `${separator}${JSON.stringify(shown(info))}`)
      separator = ',\n'
    }
    await writeLine(res, separator === ',\n' ? '\n]}\n' : '{"blobs":[]}\n')
  }
  res.end()
}

function shown({ digest, size, complete, heldBytes, meta, storedAt }: BlobInfo): object {
  return { digest, size, complete, heldBytes, mediaType: meta.mediaType, storedAt: new Date(storedAt).toISOString() }
}

/** Opens a blob, unless it may not be shown to this caller. */
async function openFor({ digest, origin }: BlobRequest, context: BlobContext): Promise<OpenBlob> {
  const held = await context.node.stat(digest)
  if (held !== undefined) refuseRestricted(digest, held.meta, context)
  const blob = await context.node.open(digest, { origin, signal: context.signal })
  try {
    refuseRestricted(digest, blob.meta, context)
    return blob
  } catch (error) {
    await blob[Symbol.asyncDispose]()
    throw error
  }
}

/** While it comes in, it can turn out that an origin gave it to one client only. */
async function* permitted(blob: OpenBlob, start: number, end: number, context: BlobContext): AsyncIterable<VerifiedChunk> {
  for await (const chunk of blob.read({ start, end, signal: context.signal })) {
    try {
      refuseRestricted(blob.digest, blob.meta, context)
    } catch (error) {
      chunk.release()
      throw error
    }
    yield chunk
  }
}

function refuseRestricted(digest: Digest, meta: BlobMeta, context: BlobContext): void {
  if (context.trusted || (meta.restrictedTo?.length ?? 0) === 0) return
  throw new ShoalError(
    'ACCESS_DENIED',
    `${digest} came with a client's credentials: pull it through the mirror with yours, or give the control listener a token`,
  )
}

function ended(state: unknown): { error: ReturnType<typeof describeError> } | undefined {
  return typeof state === 'object' && state !== null && 'failed' in state ? { error: describeError(state.failed) } : undefined
}
