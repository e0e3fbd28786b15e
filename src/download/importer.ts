import { pieceLength, pieceOffset } from '../../protocols/pieces.ts'
import { codeOf, ShoalError } from '../errors.ts'
import type { Origin, OriginBody, OriginSource } from '../origin/origin.ts'
import type { Grant } from '../rendezvous/rendezvous.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Incoming } from './incoming.ts'
import type { Introduction } from './introduction.ts'

/** Rather read on and throw away than open a new request, up to this many bytes. */
const SKIP_BYTES = 1024 * 1024
/** Failures in a row, without a piece between them, after which an origin is given up. */
const MAX_FAILURES = 6
const FIRST_PAUSE_MS = 100
const MAX_PAUSE_MS = 3_000
/** A rate limit that lasts longer than this is an answer, not a pause. */
const MAX_RATE_LIMIT_MS = 30_000
/** These may pass; all others are final for this download and this origin. */
const PASSING = new Set(['ORIGIN_UNREACHABLE', 'ORIGIN_TIMEOUT', 'ORIGIN_FAILED', 'ORIGIN_PROTOCOL', 'ORIGIN_RATE_LIMITED'])

/** Requests under way at a time: the next may begin while the last piece of one comes in, so that the origin's link does not idle. */
const MAX_RUNS = 2

/** A grant that was had before the download's sources were set up. */
export interface Adopted {
  readonly grant: Grant
  readonly source: OriginSource
  /** The origin's answer, open at its start. */
  readonly body: OriginBody | undefined
}

export interface ImporterOptions {
  readonly origin: Origin
  readonly introduction: Introduction
  readonly log: Log
  readonly metrics: Metrics
  readonly onFailure: (error: unknown) => void
  /** Told of each answer of an origin before its first byte is stored: whether the client's own credentials were needed. */
  readonly onBody: (source: OriginSource, body: OriginBody) => Promise<void>
}

/** Imports from the origin what no peer has: one request at a time, run by run. */
export class Importer {
  readonly #incoming: Incoming
  readonly #options: ImporterOptions
  readonly #sources: OriginSource[] = []
  #adopted: Adopted | undefined
  #runs = 0
  #failures = 0
  #notBefore = 0
  #error: unknown
  #contradicted = false

  constructor(incoming: Incoming, options: ImporterOptions) {
    this.#incoming = incoming
    this.#options = options
  }

  /** Another place to import from; tried in the order given. */
  addSource(source: OriginSource): void {
    if (this.#sources.length < 4) this.#sources.push(source)
  }

  /** Takes over a grant, and the request that was opened under it to learn the blob's size. */
  adopt(adopted: Adopted): void {
    this.#adopted = adopted
  }

  get running(): boolean {
    return this.#runs > 0
  }

  /** Whether an import may still bring something; `error` says why not. */
  get able(): boolean {
    return this.#sources.length > 0
  }

  /** Whether the origin says that the blob has another size. */
  get contradicted(): boolean {
    return this.#contradicted
  }

  get error(): unknown {
    return this.#error
  }

  /** Imports some of these pieces, if it may. `orphaned` says what still needs importing as it goes. */
  pump(orphans: readonly number[], orphaned: (index: number) => boolean, now: number, signal: AbortSignal): void {
    if (orphans.length === 0 || !this.able || now < this.#notBefore) return
    if (this.#runs >= MAX_RUNS || (this.#adopted === undefined && !this.#options.introduction.mayAsk(now))) return
    this.#runs++
    void this.#import(orphans, orphaned, signal).finally(() => {
      this.#runs--
      this.#incoming.bell.ring()
    })
  }

  /** Drops a request that nobody needs any more. */
  close(): void {
    this.#adopted?.body?.cancel()
    this.#adopted?.grant.end({ ok: false })
    this.#adopted = undefined
  }

  async #import(orphans: readonly number[], orphaned: (index: number) => boolean, signal: AbortSignal): Promise<void> {
    const source = this.#sources[0] as OriginSource
    const adopted = this.#takeAdopted(orphans[0] as number)
    const { introduction } = this.#options
    let grant = adopted?.grant
    try {
      grant ??= await introduction.ask(orphans, this.#incoming.geometry.size, { signal })
      if (grant === undefined) return
      const body = await this.#open(source, grant, adopted, signal)
      await this.#drain(body, grant, orphaned, signal)
      grant.end({ ok: true })
    } catch (error) {
      grant?.end({ ok: false, retryAfterMs: retryAfterMs(error) })
      if (!signal.aborted) this.#failed(source, error)
    }
  }

  /** What was had before is of use unless the first piece that a reader wants lies far behind where it begins. */
  #takeAdopted(firstOrphan: number): Adopted | undefined {
    const adopted = this.#adopted
    this.#adopted = undefined
    if (adopted === undefined) return undefined
    const skipped = pieceOffset(this.#incoming.geometry, firstOrphan) - pieceOffset(this.#incoming.geometry, adopted.grant.first)
    if (skipped <= SKIP_BYTES) return adopted
    adopted.body?.cancel()
    adopted.grant.end({ ok: true })
    return undefined
  }

  async #open(source: OriginSource, grant: Grant, adopted: Adopted | undefined, signal: AbortSignal): Promise<OriginBody> {
    const { geometry, digest } = this.#incoming
    const start = pieceOffset(geometry, grant.first)
    if (adopted?.body !== undefined) {
      if (adopted.source === source && adopted.body.start <= start && start - adopted.body.start <= SKIP_BYTES)
        return adopted.body
      adopted.body.cancel()
    }
    const end = grant.last >= geometry.pieces - 1 ? undefined : pieceOffset(geometry, grant.last + 1)
    const body = await this.#options.origin.open(source, digest, { start, end }, { signal })
    if (body.size !== undefined && body.size !== geometry.size) {
      body.cancel()
      this.#contradicted = true
      throw new ShoalError(
        'DIGEST_MISMATCH',
        `the origin says ${body.size} bytes for ${digest}, which others hold with ${geometry.size}`,
      )
    }
    if (end !== undefined && !body.ranged) grant.streams()
    grant.sized(geometry.size)
    await this.#options.onBody(source, body)
    return body
  }

  /** Cuts a body into pieces and puts them, for as long as pieces of the grant are still needed. */
  async #drain(body: OriginBody, grant: Grant, orphaned: (index: number) => boolean, signal: AbortSignal): Promise<void> {
    const { size } = this.#incoming.geometry
    const progress = (index: number) => {
      this.#failures = 0
      grant.progress(index, size)
    }
    const cutter = new PieceCutter(this.#incoming, grant, orphaned, signal)
    try {
      let at = body.start
      for await (const chunk of body.body) {
        signal.throwIfAborted()
        grant.alive()
        const done = await cutter.take(at, chunk, progress)
        at += chunk.length
        if (done) return
      }
      if (!cutter.done) throw new ShoalError('ORIGIN_UNREACHABLE', `the origin ended ${this.#incoming.digest} at byte ${at}`)
    } finally {
      cutter.close()
      body.cancel()
    }
  }

  #failed(source: OriginSource, error: unknown): void {
    const code = codeOf(error)
    if (this.#contradicted || code === 'STORE_FULL' || code === 'STORE_FAILED' || code === 'NODE_CLOSED') {
      this.#options.onFailure(error)
      return
    }
    if (code === 'PIECE_MISMATCH') {
      this.#options.metrics.pieceFailed('origin')
      this.#drop(
        source,
        new ShoalError('DIGEST_MISMATCH', `the origin's bytes are not ${this.#incoming.digest}`, { cause: error }),
      )
      return
    }
    const waitMs = retryAfterMs(error)
    this.#failures++
    const final = code === undefined || !PASSING.has(code) || this.#failures >= MAX_FAILURES || (waitMs ?? 0) > MAX_RATE_LIMIT_MS
    if (final) {
      this.#drop(source, error)
      return
    }
    const pauseMs = waitMs ?? Math.min(FIRST_PAUSE_MS * 2 ** (this.#failures - 1), MAX_PAUSE_MS)
    this.#notBefore = performance.now() + pauseMs
    this.#options.log.info({ digest: String(this.#incoming.digest), code, pauseMs }, 'import interrupted, goes on')
  }

  #drop(source: OriginSource, error: unknown): void {
    this.#error = error
    this.#failures = 0
    const at = this.#sources.indexOf(source)
    if (at >= 0) this.#sources.splice(at, 1)
    this.#options.log.warn(
      { digest: String(this.#incoming.digest), code: codeOf(error), err: codeOf(error) === undefined ? error : undefined },
      'origin given up for this blob',
    )
  }
}

/** How long the origin asked to be left alone. */
export function retryAfterMs(error: unknown): number | undefined {
  const said = error instanceof ShoalError ? error.detail?.retryAfterMs : undefined
  return typeof said === 'number' ? said : undefined
}

/** Collects the bytes of a grant into whole pieces. */
class PieceCutter {
  readonly #incoming: Incoming
  /** What is granted may shrink as it goes. */
  readonly #grant: Grant
  readonly #orphaned: (index: number) => boolean
  readonly #signal: AbortSignal
  #index: number
  #piece: { bytes: Uint8Array; release(): void } | undefined
  #attempt: ReturnType<Incoming['begin']> | undefined
  #filled = 0

  constructor(incoming: Incoming, grant: Grant, orphaned: (index: number) => boolean, signal: AbortSignal) {
    this.#incoming = incoming
    this.#index = grant.first
    this.#grant = grant
    this.#orphaned = orphaned
    this.#signal = signal
  }

  get #last(): number {
    return Math.min(this.#grant.last, this.#incoming.geometry.pieces - 1)
  }

  get done(): boolean {
    return this.#index > this.#last
  }

  /** @returns whether the run is over: complete, or what follows is not worth reading up to */
  async take(at: number, chunk: Uint8Array, progress: (index: number) => void): Promise<boolean> {
    const { geometry } = this.#incoming
    let offset = 0
    while (!this.done) {
      const position = pieceOffset(geometry, this.#index) + this.#filled
      if (at + chunk.length <= position) return false
      offset = position - at
      if (this.#piece === undefined && !(await this.#next(progress))) return true
      if (pieceOffset(geometry, this.#index) + this.#filled !== position) continue
      const { bytes } = this.#piece as { bytes: Uint8Array }
      const part = chunk.subarray(offset, offset + bytes.length - this.#filled)
      bytes.set(part, this.#filled)
      this.#filled += part.length
      if (this.#attempt !== undefined) this.#attempt.progressedAt = performance.now()
      if (this.#filled === bytes.length) await this.#put(progress)
    }
    return true
  }

  close(): void {
    this.#piece?.release()
    this.#piece = undefined
    if (this.#attempt !== undefined) this.#incoming.end(this.#index, this.#attempt)
    this.#attempt = undefined
  }

  /** Moves on to the next piece of the run that is still needed. @returns false when it is too far to read up to */
  async #next(progress: (index: number) => void): Promise<boolean> {
    const { geometry } = this.#incoming
    const from = this.#index
    while (this.#index <= this.#last && !this.#orphaned(this.#index)) progress(this.#index++)
    if (this.done || (this.#index - from) * geometry.pieceBytes > SKIP_BYTES) return false
    this.#attempt = this.#incoming.begin(this.#index, 'origin')
    this.#piece = await this.#incoming.writer.buffer(pieceLength(geometry, this.#index), { signal: this.#signal })
    return true
  }

  async #put(progress: (index: number) => void): Promise<void> {
    const index = this.#index
    const piece = this.#piece as { bytes: Uint8Array }
    const attempt = this.#attempt as ReturnType<Incoming['begin']>
    await this.#incoming.put(index, piece.bytes, undefined, attempt)
    this.close()
    this.#index++
    this.#filled = 0
    progress(index)
  }
}
