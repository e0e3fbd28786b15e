import type { Digest } from '../../protocols/digest.ts'
import { type Geometry, pieceLength } from '../../protocols/pieces.ts'
import type { BlobWriter } from '../store/store.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Downlink } from '../transfer/downlink.ts'
import type { Bell } from './bell.ts'
import { ClaimBook } from './claim-book.ts'
import { Demand } from './demand.ts'
import { Doubts } from './doubts.ts'

/** A piece being brought in by somebody. */
export interface Attempt {
  /** A peer id, or `origin`. */
  readonly from: string
  /** Monotonic milliseconds. */
  readonly begunAt: number
  progressedAt: number
  receivedBytes: number
  /** How long it was expected to take when it was asked for; `undefined`: nobody knew. */
  readonly expectedMs: number | undefined
  readonly abort: AbortController
}

export interface IncomingOptions {
  readonly bell: Bell
  readonly metrics: Metrics
  readonly downlink: Downlink
  /** Told of each piece that has come to be held, who gave it (a peer id, or `origin`), and how long after it was asked for. */
  readonly onPiece: (index: number, from: string, tookMs: number) => void
}

/** One blob on its way in: the state that the sources of a download share, and the one door by which pieces enter. */
export class Incoming {
  readonly digest: Digest
  readonly geometry: Geometry
  readonly book: ClaimBook
  readonly demand: Demand
  readonly bell: Bell
  readonly downlink: Downlink
  /** Attempts under way, by piece. */
  readonly attempts = new Map<number, Attempt[]>()
  /** Pieces that this node itself imported: it is their author. */
  readonly imported = new Set<number>()
  /** Pieces that some reader has been shown. */
  readonly #shown = new Set<number>()
  /** Pieces that were doubted, with the hash they had. */
  readonly #revised = new Map<number, Uint8Array>()
  readonly #metrics: Metrics
  readonly #onPiece: IncomingOptions['onPiece']
  /** Pieces being verified and written. */
  readonly #landing = new Set<number>()
  writer: BlobWriter
  /** Set once the whole digest was wrong. */
  readonly doubts: Doubts
  fromPeersBytes = 0
  fromOriginBytes = 0
  /** Monotonic milliseconds of the last piece that landed. */
  progressedAt: number

  constructor(digest: Digest, writer: BlobWriter, { bell, metrics, downlink, onPiece }: IncomingOptions) {
    this.digest = digest
    this.writer = writer
    this.geometry = writer.geometry
    this.demand = new Demand(writer.geometry.pieces)
    this.book = new ClaimBook(writer.geometry.pieces)
    this.doubts = new Doubts(this.book)
    this.bell = bell
    this.#metrics = metrics
    this.downlink = downlink
    this.#onPiece = onPiece
    this.progressedAt = performance.now()
  }

  /** A reader is being shown the piece: if it turns out wrong, that reader must not complete. */
  show(index: number): void {
    this.#shown.add(index)
  }

  /** Drops pieces whose hashes are in doubt; they are brought in again. */
  async drop(indices: readonly number[]): Promise<void> {
    const hashes = await this.writer.hashes(0, this.geometry.pieces)
    for (const index of indices) {
      const hash = hashes[index]
      if (hash !== undefined) this.#revised.set(index, hash)
      this.imported.delete(index)
    }
    await this.writer.drop(indices)
  }

  /** With the whole right: counts what had been wrong, and cuts readers that were shown it. */
  cutMisled(truth: readonly (Uint8Array | undefined)[]): void {
    const wrong = [...this.#revised].filter(([index, hash]) => Buffer.compare(hash, truth[index] ?? hash) !== 0)
    const misled: number[] = []
    for (const [index] of wrong) {
      this.#metrics.pieceFailed('peer')
      if (this.#shown.has(index)) misled.push(index)
    }
    this.demand.cutAfter(misled)
    this.#revised.clear()
  }

  /** Held, or being brought in. */
  taken(index: number): boolean {
    return this.writer.have.has(index) || this.attempts.has(index)
  }

  begin(index: number, from: string, expectedMs?: number): Attempt {
    const now = performance.now()
    const attempt = { from, begunAt: now, progressedAt: now, receivedBytes: 0, expectedMs, abort: new AbortController() }
    const others = this.attempts.get(index)
    if (others === undefined) this.attempts.set(index, [attempt])
    else others.push(attempt)
    // what is imported trickles in from an origin that many share: it is not to keep peers' pieces away for seconds
    if (from !== 'origin') this.downlink.asked(pieceLength(this.geometry, index), now)
    return attempt
  }

  /** Bytes of it came. */
  progress(attempt: Attempt, bytes: number): void {
    attempt.progressedAt = performance.now()
    attempt.receivedBytes += bytes
    if (attempt.from !== 'origin') this.downlink.arrived(bytes, attempt.progressedAt)
  }

  end(index: number, attempt: Attempt): void {
    const left = (this.attempts.get(index) ?? []).filter((a) => a !== attempt)
    if (left.length === 0) this.attempts.delete(index)
    else this.attempts.set(index, left)
    if (attempt.from !== 'origin') this.downlink.settled(pieceLength(this.geometry, index))
    this.bell.ring()
  }

  /**
   * Verifies and stores a piece; other attempts at it are called off.
   * @throws ShoalError as BlobWriter.put
   */
  async put(
    index: number,
    bytes: Uint8Array,
    expected: Uint8Array | undefined,
    attempt: Attempt,
  ): Promise<Uint8Array | undefined> {
    if (this.writer.have.has(index) || this.#landing.has(index)) {
      this.#metrics.wasted(bytes.length)
      return undefined
    }
    this.#landing.add(index)
    let hash: Uint8Array
    try {
      hash = await this.writer.put(index, bytes, expected)
    } finally {
      this.#landing.delete(index)
    }
    this.doubts.settle(index)
    const source = attempt.from === 'origin' ? 'origin' : 'peer'
    if (source === 'origin') {
      this.fromOriginBytes += bytes.length
      this.imported.add(index)
      this.book.note(index)
    } else {
      this.fromPeersBytes += bytes.length
      this.imported.delete(index)
    }
    this.#metrics.downloaded(source, bytes.length)
    this.progressedAt = performance.now()
    this.#onPiece(index, attempt.from, this.progressedAt - attempt.begunAt)
    for (const other of this.attempts.get(index) ?? []) if (other !== attempt) other.abort.abort()
    this.bell.ring()
    return hash
  }
}
