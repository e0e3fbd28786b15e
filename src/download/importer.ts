import { pieceLength, pieceOffset } from '../../protocols/pieces.ts'
import { codeOf, ShoalError } from '../errors.ts'
import type { Origin, OriginBody, OriginSource } from '../origin/origin.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Incoming } from './incoming.ts'
import type { Leases } from './leases.ts'

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

export interface ImporterOptions {
  readonly origin: Origin
  readonly leases: Leases
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
  #adopted: { body: OriginBody; source: OriginSource } | undefined
  #running = false
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

  /** Takes over a request that was opened to learn the blob's size. */
  adopt(body: OriginBody, source: OriginSource): void {
    this.#adopted = { body, source }
  }

  get running(): boolean {
    return this.#running
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

  /** Starts a run for the first of these pieces, unless one is under way. `orphaned` says what still needs importing as it goes. */
  pump(orphans: readonly number[], orphaned: (index: number) => boolean, now: number, signal: AbortSignal): void {
    if (this.#running || orphans.length === 0 || !this.able || now < this.#notBefore) return
    this.#running = true
    void this.#import(orphans, orphaned, signal).finally(() => {
      this.#running = false
      this.#incoming.bell.ring()
    })
  }

  /** Drops a request that nobody needs any more. */
  close(): void {
    this.#adopted?.body.cancel()
    this.#adopted = undefined
  }

  async #import(orphans: readonly number[], orphaned: (index: number) => boolean, signal: AbortSignal): Promise<void> {
    const source = this.#sources[0] as OriginSource
    try {
      const grant = await this.#options.leases.request(this.#incoming.digest, orphans, { signal })
      if (grant === undefined) return
      try {
        const body = await this.#open(source, grant.first, grant.last, signal)
        await this.#drain(body, grant.first, grant.last, orphaned, signal, (index) => {
          this.#failures = 0
          grant.progress(index)
        })
      } finally {
        grant.end()
      }
    } catch (error) {
      if (!signal.aborted) this.#failed(source, error)
    }
  }

  async #open(source: OriginSource, first: number, last: number, signal: AbortSignal): Promise<OriginBody> {
    const { geometry, digest } = this.#incoming
    const start = pieceOffset(geometry, first)
    const adopted = this.#adopted
    this.#adopted = undefined
    if (adopted !== undefined) {
      if (adopted.source === source && adopted.body.start <= start && start - adopted.body.start <= SKIP_BYTES)
        return adopted.body
      adopted.body.cancel()
    }
    const end = last === geometry.pieces - 1 ? undefined : pieceOffset(geometry, last + 1)
    const body = await this.#options.origin.open(source, digest, { start, end }, { signal })
    if (body.size !== undefined && body.size !== geometry.size) {
      body.cancel()
      this.#contradicted = true
      throw new ShoalError(
        'DIGEST_MISMATCH',
        `the origin says ${body.size} bytes for ${digest}, which others hold with ${geometry.size}`,
      )
    }
    await this.#options.onBody(source, body)
    return body
  }

  /** Cuts a body into pieces and puts them, for as long as pieces of the run are still needed. */
  async #drain(
    body: OriginBody,
    first: number,
    last: number,
    orphaned: (index: number) => boolean,
    signal: AbortSignal,
    progress: (index: number) => void,
  ): Promise<void> {
    const cutter = new PieceCutter(this.#incoming, first, last, orphaned, signal)
    try {
      let at = body.start
      for await (const chunk of body.body) {
        signal.throwIfAborted()
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
    const retryAfterMs =
      error instanceof ShoalError && typeof error.detail?.retryAfterMs === 'number' ? error.detail.retryAfterMs : undefined
    this.#failures++
    const final =
      code === undefined || !PASSING.has(code) || this.#failures >= MAX_FAILURES || (retryAfterMs ?? 0) > MAX_RATE_LIMIT_MS
    if (final) {
      this.#drop(source, error)
      return
    }
    const pauseMs = retryAfterMs ?? Math.min(FIRST_PAUSE_MS * 2 ** (this.#failures - 1), MAX_PAUSE_MS)
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

/** Collects the bytes of a run into whole pieces. */
class PieceCutter {
  readonly #incoming: Incoming
  readonly #last: number
  readonly #orphaned: (index: number) => boolean
  readonly #signal: AbortSignal
  #index: number
  #piece: { bytes: Uint8Array; release(): void } | undefined
  #attempt: ReturnType<Incoming['begin']> | undefined
  #filled = 0

  constructor(incoming: Incoming, first: number, last: number, orphaned: (index: number) => boolean, signal: AbortSignal) {
    this.#incoming = incoming
    this.#index = first
    this.#last = last
    this.#orphaned = orphaned
    this.#signal = signal
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
