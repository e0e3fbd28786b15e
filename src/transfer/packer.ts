import { encodePieceData } from '../../protocols/piece/codec.ts'
import { DATA_HEADER_BYTES } from '../../protocols/piece/limits.ts'
import { WRITE_BYTES } from '../net/channel.ts'
import type { FramePool } from './frame-pool.ts'

/** What one frame carries of one answer. */
export interface Span<Job> {
  readonly job: Job
  readonly pieceBytes: number
  /** With it the answer is complete. */
  readonly last: boolean
}

/** One write to the channel. */
export interface Frame<Job> {
  readonly bytes: Uint8Array
  readonly spans: readonly Span<Job>[]
}

/**
 * Packs answers into frames of the best size for a write, copying: a mebibyte ends 400 bytes into its fifth frame, which then
 * begins the next piece's instead of costing a write, a cipher and a window update of its own.
 */
export class Packer<Job extends { readonly id: number; packed: number }> {
  readonly #pool: FramePool
  #buffer: Buffer | undefined
  #filled = 0
  #spans: Span<Job>[] = []

  constructor(pool: FramePool) {
    this.#pool = pool
  }

  /** Whether there are bytes that wait for more. */
  get open(): boolean {
    return this.#filled > 0
  }

  /**
   * Adds a part of an answer; `head` goes in front of it. Counts what it adds in the job's `packed`.
   * @returns the frames that are full now
   */
  add(job: Job, head: Uint8Array | undefined, part: Uint8Array, last: boolean): Frame<Job>[] {
    const full: Frame<Job>[] = []
    if (head !== undefined) {
      this.#makeRoom(head.length + DATA_HEADER_BYTES + 1, full)
      this.#append(head)
      if (part.length === 0) this.#span({ job, pieceBytes: 0, last })
    }
    for (let at = 0; at < part.length; ) {
      this.#makeRoom(DATA_HEADER_BYTES + 1, full)
      const pieceBytes = Math.min(part.length - at, WRITE_BYTES - this.#filled - DATA_HEADER_BYTES)
      this.#append(encodePieceData(job.id, pieceBytes))
      this.#append(part.subarray(at, at + pieceBytes))
      at += pieceBytes
      this.#span({ job, pieceBytes, last: last && at === part.length })
    }
    return full
  }

  /** What waits for more, as a frame of its own. */
  flush(): Frame<Job> | undefined {
    if (this.#buffer === undefined || this.#filled === 0) return undefined
    const frame = { bytes: this.#pool.fit(this.#buffer, this.#filled), spans: this.#spans }
    this.#buffer = undefined
    this.#filled = 0
    this.#spans = []
    return frame
  }

  #span(span: Span<Job>): void {
    this.#spans.push(span)
    span.job.packed++
  }

  #makeRoom(bytes: number, full: Frame<Job>[]): void {
    if (WRITE_BYTES - this.#filled >= bytes) return
    const frame = this.flush()
    if (frame !== undefined) full.push(frame)
  }

  #append(bytes: Uint8Array): void {
    this.#buffer ??= this.#pool.take()
    this.#buffer.set(bytes, this.#filled)
    this.#filled += bytes.length
  }
}
