import { pieceOffset } from '../../protocols/pieces.ts'
import { codeOf, ShoalError } from '../errors.ts'
import type { Origin, OriginBody, OriginSource } from '../origin/origin.ts'
import type { Grant } from '../rendezvous/rendezvous.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { BodyCursor } from './body-cursor.ts'
import type { Incoming } from './incoming.ts'
import type { Introduction } from './introduction.ts'
import { PieceCutter, SKIP_BYTES } from './piece-cutter.ts'
import { type Reach, Reaches } from './reaches.ts'

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
  /** Where what was asked for ends; `undefined`: where the blob does. */
  readonly end?: number | undefined
}

export interface ImporterOptions {
  /** The blob's size is the word of peers only. */
  readonly claimedSize: boolean
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
  #ranged = false
  readonly #underway: Reaches

  constructor(incoming: Incoming, options: ImporterOptions) {
    this.#incoming = incoming
    this.#options = options
    this.#underway = new Reaches(incoming.geometry)
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

  /** Whether single pieces may be imported: the origin is known to answer ranges. */
  get ranged(): boolean {
    return this.able && this.#ranged
  }

  /** Whether the origin says that the blob has another size. */
  get contradicted(): boolean {
    return this.#contradicted
  }

  get error(): unknown {
    return this.#error
  }

  /** Whether it is time to import more, or to ask whether it is. */
  ready(now: number): boolean {
    const { introduction } = this.#options
    if (!this.able || now < this.#notBefore || this.#runs >= this.#mostRuns) return false
    return this.#adopted !== undefined || introduction.mayAsk(now)
  }

  get #mostRuns(): number {
    const { alone, solitary } = this.#options.introduction
    return solitary || (alone && !this.#underway.nearlyDone) ? 1 : MAX_RUNS
  }

  /** Imports some of these pieces. `orphaned` says what still needs importing as it goes. */
  pump(orphans: readonly number[], orphaned: (index: number) => boolean, signal: AbortSignal): void {
    const free = orphans.filter((index) => !this.#underway.covers(index))
    if (free.length === 0) return
    this.#runs++
    void this.#import(free, orphaned, signal).finally(() => {
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
      if (adopted?.body === undefined && !this.#isNeeded(grant, orphaned)) {
        grant.end({ ok: true })
        return
      }
      const { body, end } = await this.#open(source, grant, adopted, orphaned, signal)
      const cursor = new BodyCursor(body)
      const reach = this.#underway.add(grant.first, end)
      try {
        while (grant !== undefined) {
          await this.#drain(cursor, grant, reach, orphaned, signal)
          grant.end({ ok: true })
          grant = await this.#following(grant, source, reach, orphaned, signal)
        }
      } finally {
        this.#underway.delete(reach)
        cursor.close()
      }
    } catch (error) {
      grant?.end({ ok: false, retryAfterMs: retryAfterMs(error) })
      if (!signal.aborted) this.#failed(source, error)
    }
  }

  /** On busy links an answer is a second old: what has come since the question is not asked of the origin. */
  #isNeeded(grant: Grant, orphaned: (index: number) => boolean): boolean {
    const { geometry, writer } = this.#incoming
    const last = Math.min(grant.last, geometry.pieces - 1)
    for (let index = grant.first; index <= last; index++) if (orphaned(index)) return true
    for (let index = grant.first; index <= last; index++) if (writer.have.has(index)) grant.progress(index, geometry.size)
    return false
  }

  /** A request that goes on beyond what was granted is read on: the next grant begins where the last ended. */
  async #following(
    ended: Grant,
    source: OriginSource,
    reach: Reach,
    orphaned: (index: number) => boolean,
    signal: AbortSignal,
  ): Promise<Grant | undefined> {
    const { introduction } = this.#options
    const { demand, geometry } = this.#incoming
    const orphans = demand.missing((index) => index <= ended.last || index > reach.last || !orphaned(index))
    if (orphans.length === 0) return undefined
    const grant = await introduction.ask(orphans, geometry.size, { signal })
    if (grant === undefined || grant.first === ended.last + 1) return grant
    this.#adopted = { grant, source, body: undefined }
    return undefined
  }

  /** A node without a zone asks for as much as nobody has, in one request, however short its grants are. */
  #lastToRead(grant: Grant, orphaned: (index: number) => boolean): number {
    let { last } = grant
    if (this.#options.introduction.solitary) while (last + 1 < this.#incoming.geometry.pieces && orphaned(last + 1)) last++
    return last
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

  /** Whether what was asked for before the size was known holds the first piece: pieces may be larger than that. */
  #reaches({ body, end }: Adopted, { first }: Grant): boolean {
    const { geometry } = this.#incoming
    if (body === undefined || !body.ranged || end === undefined) return true
    return end >= Math.min(geometry.size, pieceOffset(geometry, first) + geometry.pieceBytes)
  }

  async #open(
    source: OriginSource,
    grant: Grant,
    adopted: Adopted | undefined,
    orphaned: (index: number) => boolean,
    signal: AbortSignal,
  ): Promise<Pick<Adopted, 'end'> & { readonly body: OriginBody }> {
    const { geometry, digest } = this.#incoming
    const start = pieceOffset(geometry, grant.first)
    if (adopted?.body !== undefined) {
      const begins = adopted.body.start <= start && start - adopted.body.start <= SKIP_BYTES
      if (adopted.source === source && begins && this.#reaches(adopted, grant))
        return { body: adopted.body, end: adopted.body.ranged ? adopted.end : undefined }
      adopted.body.cancel()
    }
    const last = this.#lastToRead(grant, orphaned)
    const end = last >= geometry.pieces - 1 ? undefined : pieceOffset(geometry, last + 1)
    const body = await this.#options.origin.open(source, digest, { start, end }, { signal })
    if (body.size !== undefined && body.size !== geometry.size) {
      body.cancel()
      this.#contradicted = true
      throw new ShoalError(
        'DIGEST_MISMATCH',
        `the origin says ${body.size} bytes for ${digest}, which others hold with ${geometry.size}`,
      )
    }
    if (start > 0 || end !== undefined) this.#ranged = body.ranged
    if (end !== undefined && !body.ranged) grant.streams()
    grant.sized(geometry.size)
    await this.#options.onBody(source, body)
    return { body, end: body.ranged ? end : undefined }
  }

  /** Cuts a body into pieces and puts them, for as long as pieces of the grant are still needed. */
  async #drain(
    cursor: BodyCursor,
    grant: Grant,
    reach: Reach,
    orphaned: (index: number) => boolean,
    signal: AbortSignal,
  ): Promise<void> {
    const { geometry, digest } = this.#incoming
    const progress = (index: number) => {
      this.#failures = 0
      reach.left = reach.last - index
      grant.progress(index, geometry.size)
    }
    const cutter = new PieceCutter(this.#incoming, grant, orphaned, signal)
    try {
      for (;;) {
        const chunk = await cursor.chunk()
        signal.throwIfAborted()
        if (chunk === undefined) break
        grant.alive()
        // what lies beyond the grant stays for the next
        if (await cutter.take(cursor.at, chunk, progress)) return
        cursor.advance()
      }
      if (cutter.done) return
      if (cursor.body.size === undefined && this.#options.claimedSize) this.#contradicted = true
      throw new ShoalError('ORIGIN_UNREACHABLE', `the origin ended ${digest} at byte ${cursor.at}`)
    } finally {
      cutter.close()
    }
  }

  #failed(source: OriginSource, error: unknown): void {
    const code = codeOf(error)
    // asked for what lies beyond the end, an origin may say so in many ways
    if (code === 'ORIGIN_PROTOCOL' && this.#options.claimedSize) this.#contradicted = true
    if (this.#contradicted || code === 'STORE_FULL' || code === 'STORE_FAILED' || code === 'NODE_CLOSED') {
      const digest = this.#incoming.digest
      const other = this.#contradicted && code !== 'DIGEST_MISMATCH'
      this.#options.onFailure(
        other ? new ShoalError('DIGEST_MISMATCH', `the origin has another size for ${digest}`, { cause: error }) : error,
      )
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
