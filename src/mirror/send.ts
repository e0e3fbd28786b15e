import type { ServerResponse } from 'node:http'
import type { OpenBlob, VerifiedChunk } from '../download/download.ts'
import { ShoalError } from '../errors.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Answer, Slice } from './answer.ts'
import { Chunks } from './chunks.ts'
import type { Cuts } from './cuts.ts'
import { abortable } from './single-flight.ts'

/** A client whose socket takes nothing for so long is gone. */
const STALLED_MS = 60_000
/** How long the first bytes may keep the headers waiting, so that a failure can still be told rather than cut. */
const FIRST_BYTES_MS = 2_000

export interface SendOptions {
  readonly head: boolean
  readonly cuts: Cuts
  readonly metrics: Metrics
  /** Aborted when the client goes away. */
  readonly signal: AbortSignal
  readonly stalledMs?: number | undefined
}

/** The client closed its connection: an event, not an error. */
export class ClientGone extends Error {
  constructor(options?: { cause?: unknown }) {
    super('the client is gone', options)
    this.name = 'ClientGone'
  }
}

/**
 * Writes an answer. Resolves when its last byte was handed to the operating system.
 * @throws ShoalError why the body could not be completed: when headers are out, the connection must be cut then, and is never
 * ended short; ClientGone
 */
export async function send(response: ServerResponse, answer: Answer, options: SendOptions): Promise<void> {
  dropStalled(response, options.stalledMs ?? STALLED_MS)
  const { body } = answer
  if (body !== undefined && !(body instanceof Uint8Array)) return await sendSlice(response, answer, body, options)
  response.writeHead(answer.status, answer.headers)
  const bytes = options.head ? undefined : body
  await flushed(response, bytes, true, options.signal)
  if (bytes !== undefined && answer.status < 300) options.metrics.served('client', bytes.length)
}

async function sendSlice(response: ServerResponse, answer: Answer, slice: Slice, options: SendOptions): Promise<void> {
  const { cuts, metrics, signal } = options
  let sent = 0
  try {
    if (slice.headersFirst) {
      response.writeHead(answer.status, answer.headers)
      response.flushHeaders()
    }
    await using blob = await slice.open()
    await using chunks = new Chunks(blob, slice, signal)
    if (!slice.headersFirst) {
      const ready = await chunks.ready(FIRST_BYTES_MS)
      await slice.mayGoOn(blob)
      response.writeHead(answer.status, answer.headers)
      if (!ready) response.flushHeaders()
    }
    cuts.answered(slice.digest, blob)
    await pump(response, blob, slice, chunks, signal, (bytes) => {
      sent += bytes
      metrics.served('client', bytes)
    })
  } catch (error) {
    if (response.headersSent && !signal.aborted && !(error instanceof ClientGone))
      cuts.cut(slice.digest, slice.start, slice.start + sent)
    throw error
  }
}

/** One chunk is on its way to the socket while the next is read and verified; a slow client holds everything behind it back. */
async function pump(
  response: ServerResponse,
  blob: OpenBlob,
  slice: Slice,
  chunks: Chunks,
  signal: AbortSignal,
  onSent: (bytes: number) => void,
): Promise<void> {
  const length = slice.end - slice.start
  let written = 0
  let before: Promise<void> = Promise.resolve()
  let chunk: VerifiedChunk | undefined
  try {
    do {
      chunk = await chunks.next()
      written += chunk?.bytes.length ?? 0
      if (chunk === undefined ? written < length : written > length) throw miscounted(slice, written)
      await slice.mayGoOn(blob)
      await before
      before = writeChunk(response, chunk, written === length, signal, onSent)
      before.catch(() => {})
      chunk = undefined
      if (written < length) chunks.readAhead()
    } while (written < length)
  } finally {
    chunk?.release()
    // what was verified and written still goes out, also when what follows can't be had
    await before
  }
}

/** A chunk's buffer may be used again only when the operating system has taken it, or the socket is closed. */
async function writeChunk(
  response: ServerResponse,
  chunk: VerifiedChunk | undefined,
  last: boolean,
  signal: AbortSignal,
  onSent: (bytes: number) => void,
): Promise<void> {
  try {
    await flushed(response, chunk?.bytes, last, signal)
    onSent(chunk?.bytes.length ?? 0)
  } finally {
    chunk?.release()
  }
}

async function flushed(
  response: ServerResponse,
  bytes: Uint8Array | undefined,
  last: boolean,
  signal: AbortSignal,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const done = (cause?: Error | null) => (cause == null ? resolve() : reject(new ClientGone({ cause })))
  if (!last) response.write(bytes, done)
  else if (bytes === undefined) response.end(done)
  else response.end(bytes, done)
  await abortable(promise, signal)
}

function miscounted({ digest, start, end }: Slice, bytes: number): ShoalError {
  return new ShoalError('STORE_FAILED', `${digest}: ${bytes} bytes came where ${end - start} were promised`)
}

/** The socket's own timer also sees progress within a write; it rings too when it is us who have nothing to write. */
function dropStalled(response: ServerResponse, stalledMs: number): void {
  response.setTimeout(stalledMs, () => {
    if (response.writableLength > 0) response.destroy()
    else response.setTimeout(stalledMs)
  })
}
