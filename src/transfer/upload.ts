import type { Digest } from '../../protocols/digest.ts'
import { encodePieceFail, encodePieceHead, type PieceRequest } from '../../protocols/piece/codec.ts'
import { geometryOf, pieceLength } from '../../protocols/pieces.ts'
import { codeOf, ShoalError } from '../errors.ts'
import type { Channel } from '../net/channel.ts'
import type { FramePool, SentFrames } from './frame-pool.ts'
import { type Frame, framesOf } from './frames.ts'
import { Outbox } from './outbox.ts'
import type { ServerParts } from './serve.ts'
import type { Loan } from './shelf.ts'
import type { Slot, Slots } from './slots.ts'

/** Answers without data that may wait to be sent before the peer's next requests are not read. */
const MAX_QUEUED_ANSWER_BYTES = 64 * 1024

interface Job {
  readonly id: number
  readonly digest: Digest
  readonly index: number
  readonly maxBytes: number
  cancelled: boolean
}

/** The piece being read, part by part. */
interface Reading {
  readonly job: Job
  readonly loan: Loan
  readonly length: number
  at: number
}

/** Frames ready to be sent. */
interface Part {
  readonly job: Job
  readonly frames: readonly Frame[]
  readonly last: boolean
  readonly slot: Slot
}

export interface UploadParts extends ServerParts {
  readonly slots: Slots
  readonly frames: FramePool
  readonly load: () => number
}

/**
 * The answering side of one data stream: one piece after the other, in the order asked, the next part being read while one
 * is written. Bytes are copied from the store's buffers, which are free at once, into frames of this part's own (see
 * SentFrames): were a frame reused too early by mistake, a peer would get other bytes that it may have, and never a private blob's.
 */
export class Upload {
  readonly #channel: Channel
  readonly #parts: UploadParts
  readonly #answers: Outbox
  readonly #sent: SentFrames
  readonly #queue: Job[] = []
  /** Requests not yet answered in full, by id. */
  readonly #jobs = new Map<number, Job>()
  #reading: Reading | undefined
  #ahead: Promise<Part | undefined> | undefined
  #running = false
  #writingSince: number | undefined
  #ended = false
  #queuedBytes = 0

  constructor(channel: Channel, parts: UploadParts) {
    this.#channel = channel
    this.#parts = parts
    this.#answers = new Outbox(channel, parts.now)
    this.#sent = parts.frames.ledger()
  }

  /** Bytes asked for and not yet sent. */
  get queuedBytes(): number {
    return this.#queuedBytes
  }

  /** @throws ShoalError MESSAGE_MALFORMED */
  accept(request: PieceRequest): void {
    if (request.type === 'cancel') {
      this.#cancel(request.id)
      return
    }
    const { id, digest, index, maxBytes } = request
    if (this.#jobs.has(id)) throw new ShoalError('MESSAGE_MALFORMED', `request ${id} is open already`)
    this.#sent.arrived(id)
    if (!this.#parts.admits(this.#channel.peerId)) this.#say(id, 'refused')
    else if (this.#jobs.size >= this.#parts.limits.queuedRequests) this.#say(id, 'busy')
    else {
      const job = { id, digest, index, maxBytes, cancelled: false }
      this.#jobs.set(id, job)
      this.#queue.push(job)
      this.#queuedBytes += maxBytes
      if (this.#running) this.#readAhead()
      else void this.#run()
    }
  }

  /** Holds back a peer that asks and asks and does not read the answers. */
  settled(): Promise<void> | undefined {
    return this.#answers.queuedBytes > MAX_QUEUED_ANSWER_BYTES ? this.#answers.flushed() : undefined
  }

  tick(now: number): void {
    const since = this.#writingSince ?? this.#answers.blockedSince
    if (since === undefined || now - since <= this.#parts.limits.stallMs) return
    this.abort(new ShoalError('PEER_TIMEOUT', `${this.#channel.peerId} asked for pieces and takes none`))
  }

  abort(reason: Error): void {
    this.#channel.abort(reason)
  }

  /** The peer is gone, or wants no more. */
  end(): void {
    this.#ended = true
    this.#sent.forget()
    this.#queue.length = 0
    this.#queuedBytes = 0
    if (!this.#running) this.#endReading()
  }

  /** What was not begun is dropped; what was stops at the next frame. Either way the peer is told with a `fail`. */
  #cancel(id: number): void {
    const job = this.#jobs.get(id)
    if (job === undefined) return
    job.cancelled = true
    const at = this.#queue.indexOf(job)
    if (at < 0) return
    this.#queue.splice(at, 1)
    this.#fail(job)
  }

  async #run(): Promise<void> {
    this.#running = true
    try {
      for (;;) {
        this.#readAhead()
        if (this.#ended || this.#ahead === undefined) break
        const part = await this.#ahead
        this.#ahead = undefined
        if (part === undefined) continue
        this.#readAhead()
        await this.#send(part)
      }
    } catch (error) {
      // a failed write means that the channel is over, and its reader knows; anything else is ours
      if (!this.#channel.closed.aborted) this.abort(error instanceof Error ? error : new Error(String(error)))
      this.#ended = true
    }
    this.#running = false
    if (this.#ended) await this.#letGo()
  }

  async #letGo(): Promise<void> {
    const unsent = await this.#ahead?.catch(() => undefined)
    unsent?.slot.release()
    this.#endReading()
  }

  #readAhead(): void {
    if (this.#ended || this.#ahead !== undefined || (this.#reading === undefined && this.#queue.length === 0)) return
    this.#ahead = this.#prepare()
    this.#ahead.catch(() => {})
  }

  /** The next part to send, or `undefined` when there is nothing left that has bytes. */
  async #prepare(): Promise<Part | undefined> {
    let slot: Slot | undefined
    try {
      for (;;) {
        const reading = this.#reading ?? (await this.#next())
        if (reading === undefined) break
        slot ??= await this.#parts.slots.take(() =>
          this.abort(new ShoalError('PEER_TIMEOUT', 'others wait for what this peer does not take')),
        )
        if (this.#ended) break
        const part = await this.#read(reading, slot)
        if (part !== undefined) return part
      }
    } catch (error) {
      slot?.release()
      throw error
    }
    slot?.release()
    return undefined
  }

  /** Takes requests from the queue up to the first that has an answer with bytes. */
  async #next(): Promise<Reading | undefined> {
    for (let job = this.#queue.shift(); job !== undefined; job = this.#queue.shift()) {
      const reading = await this.#begin(job)
      if (reading !== undefined) {
        this.#reading = reading
        return reading
      }
    }
    return undefined
  }

  async #begin(job: Job): Promise<Reading | undefined> {
    const loan = await this.#borrow(job.digest)
    const { index } = job
    if (loan === undefined) {
      this.#answer(job, 'lacks')
      return undefined
    }
    const { size, have } = loan.holding
    const empty = size === 0 && index === 0
    if (empty || have.has(index)) {
      const length = empty ? 0 : pieceLength(geometryOf(size), index)
      if (length <= job.maxBytes) return { job, loan, length, at: 0 }
      this.#answer(job, 'too-large', size)
    } else this.#answer(job, 'lacks')
    loan.giveBack()
    return undefined
  }

  async #borrow(digest: Digest): Promise<Loan | undefined> {
    try {
      return await this.#parts.shelf.borrow(digest)
    } catch (error) {
      this.#parts.log.warn({ digest: String(digest), err: error }, 'what a peer asked for could not be opened')
      return undefined
    }
  }

  /** @returns nothing when the piece could not be read: then its request has been answered */
  async #read(reading: Reading, slot: Slot): Promise<Part | undefined> {
    const { job, loan, length } = reading
    const begin = reading.at
    const wanted = Math.min(this.#parts.limits.partBytes, length - begin)
    try {
      if (job.cancelled) throw new ShoalError('PEER_GONE', 'cancelled')
      const head = begin === 0 ? this.#head(reading) : undefined
      const part = wanted === 0 ? NOTHING : await loan.holding.read(job.index, begin, wanted, { signal: this.#channel.closed })
      let frames: Frame[]
      try {
        frames = framesOf(this.#parts.frames, job.id, head, part.bytes)
      } finally {
        part.release()
      }
      reading.at += wanted
      const last = reading.at === length
      if (last) this.#endReading()
      return { job, frames, last, slot }
    } catch (error) {
      this.#endReading()
      this.#unreadable(job, begin, error)
      return undefined
    }
  }

  #unreadable(job: Job, begin: number, error: unknown): void {
    if (begin > 0 || job.cancelled) this.#fail(job)
    else this.#answer(job, 'lacks')
    if (job.cancelled || this.#channel.closed.aborted) return
    const code = codeOf(error)
    this.#parts.log.warn(
      { digest: String(job.digest), index: job.index, code, err: code === undefined ? error : undefined },
      'a piece could not be read for a peer',
    )
    this.#parts.onShrunk(job.digest)
  }

  async #send({ job, frames, last, slot }: Part): Promise<void> {
    const { metrics, now, onServed } = this.#parts
    try {
      for (const frame of frames) {
        if (job.cancelled || this.#ended) break
        this.#writingSince = now()
        const written = this.#channel.write([frame.bytes])
        this.#sent.sent(job.id, frame.bytes)
        // The peer may have it all, and ask anew under this id, before the write has resolved.
        if (last && frame === frames.at(-1)) this.#done(job)
        await written
        slot.touch()
        metrics.served('peer', frame.pieceBytes)
        onServed(this.#channel.peerId, frame.pieceBytes)
      }
    } finally {
      this.#writingSince = undefined
      slot.release()
    }
    if (job.cancelled) this.#fail(job)
  }

  #head({ job, loan, length }: Reading): Uint8Array {
    const { size, mediaType } = loan.holding
    return encodePieceHead({ type: 'head', id: job.id, status: 'ok', size, length, load: this.#parts.load(), mediaType })
  }

  #answer(job: Job, status: 'lacks' | 'too-large', size = 0): void {
    if (this.#done(job)) this.#say(job.id, status, size)
  }

  #say(id: number, status: 'lacks' | 'busy' | 'refused' | 'too-large', size = 0): void {
    this.#answers.push(
      encodePieceHead({ type: 'head', id, status, size, length: 0, load: this.#parts.load(), mediaType: undefined }),
    )
  }

  #fail(job: Job): void {
    if (this.#done(job)) this.#answers.push(encodePieceFail(job.id))
  }

  /** @returns whether it had still been open */
  #done(job: Job): boolean {
    if (this.#jobs.get(job.id) !== job) return false
    this.#jobs.delete(job.id)
    this.#queuedBytes = Math.max(0, this.#queuedBytes - job.maxBytes)
    return true
  }

  #endReading(): void {
    this.#reading?.loan.giveBack()
    this.#reading = undefined
  }
}

const NOTHING = { bytes: new Uint8Array(0), release() {} }
