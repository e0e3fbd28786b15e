import type { PieceRequest } from '../../protocols/piece/codec.ts'
import { codeOf, ShoalError } from '../errors.ts'
import type { Channel } from '../net/channel.ts'
import { Answers, type Job } from './answers.ts'
import type { FramePool, SentFrames } from './frame-pool.ts'
import { type Frame, Packer } from './packer.ts'
import { Reading } from './reading.ts'
import type { ServerParts } from './serve.ts'
import type { Slot, Slots } from './slots.ts'

/** Answers without data that may wait to be sent before the peer's next requests are not read. */
const MAX_QUEUED_ANSWER_BYTES = 64 * 1024

/** Frames ready to be sent, and the right to hold them. */
interface Part {
  readonly frames: readonly Frame<Job>[]
  readonly slot: Slot | undefined
}

export interface UploadParts extends ServerParts {
  readonly slots: Slots
  readonly frames: FramePool
  readonly load: () => number
  /** All peers together have asked for more than is good for them. */
  readonly crowded: () => boolean
}

/**
 * The answering side of one data stream: one piece after the other, in the order asked, the next part being read while one
 * is written. Bytes are copied from the store's buffers, which are free at once, into frames of this part's own (see
 * SentFrames): were a frame reused too early by mistake, a peer would get other bytes that it may have, and never a private blob's.
 */
export class Upload {
  readonly #channel: Channel
  readonly #parts: UploadParts
  readonly #answers: Answers
  readonly #packer: Packer<Job>
  readonly #sent: SentFrames
  readonly #queue: Job[] = []
  #reading: { readonly job: Job; readonly piece: Reading } | undefined
  #ahead: Promise<Part | undefined> | undefined
  #running = false
  #writingSince: number | undefined
  #ended = false

  constructor(channel: Channel, parts: UploadParts) {
    this.#channel = channel
    this.#parts = parts
    this.#answers = new Answers(channel, parts)
    this.#packer = new Packer(parts.frames)
    this.#sent = parts.frames.ledger()
  }

  /** Bytes asked for that have not arrived, as far as is known. */
  get owedBytes(): number {
    return this.queuedBytes + (this.#ended ? 0 : this.#channel.unacknowledgedBytes)
  }

  /** Bytes asked for and not yet sent. */
  get queuedBytes(): number {
    return this.#ended ? 0 : this.#answers.bytes
  }

  /** @throws ShoalError MESSAGE_MALFORMED */
  accept(request: PieceRequest): void {
    if (request.type === 'cancel') {
      this.#cancel(request.id)
      return
    }
    const { id } = request
    if (this.#answers.get(id) !== undefined) throw new ShoalError('MESSAGE_MALFORMED', `request ${id} is open already`)
    this.#sent.arrived(id)
    if (!this.#parts.admits(this.#channel.peerId)) this.#answers.say(id, 'refused')
    else if (this.#full) this.#answers.say(id, 'busy')
    else {
      this.#queue.push(this.#answers.add(request, this.#parts.shelf.answerBytes(request)))
      if (this.#running) this.#readAhead()
      else void this.#run()
    }
  }

  get #full(): boolean {
    const { limits, crowded } = this.#parts
    return this.#answers.open >= limits.queuedRequests || (this.#answers.open > 0 && crowded())
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
    if (!this.#running) this.#endReading()
  }

  /** What was not begun is dropped; what was stops at the next frame. Either way the peer is told with a `fail`. */
  #cancel(id: number): void {
    const job = this.#answers.get(id)
    if (job === undefined) return
    job.cancelled = true
    const at = this.#queue.indexOf(job)
    if (at < 0) return
    this.#queue.splice(at, 1)
    this.#answers.fail(job)
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
    unsent?.slot?.release()
    this.#endReading()
  }

  /** Something waits to be read or sent. */
  get #more(): boolean {
    return this.#reading !== undefined || this.#queue.length > 0
  }

  #readAhead(): void {
    if (this.#ended || this.#ahead !== undefined || !(this.#more || this.#packer.open)) return
    this.#ahead = this.#prepare()
    this.#ahead.catch(() => {})
  }

  /** The next frames to send; `undefined` when nothing is left that has bytes. */
  async #prepare(): Promise<Part | undefined> {
    let slot: Slot | undefined
    try {
      while (!this.#ended && (await this.#begin())) {
        const turn = this.#turn()
        if (turn === 'later') break
        if (turn !== undefined) {
          slot?.release()
          slot = undefined
          await turn
        }
        slot ??= this.#parts.slots.takeNow(this.#evict)
        // what is packed does not wait for others to be served
        if (slot === undefined && this.#packer.open) break
        slot ??= await this.#parts.slots.take(this.#evict)
        const frames = await this.#pack()
        if (frames.length > 0) return { frames: this.#more ? frames : [...frames, ...this.#rest()], slot }
      }
      const frames = this.#rest()
      if (frames.length > 0) return { frames, slot }
    } catch (error) {
      slot?.release()
      throw error
    }
    slot?.release()
    return undefined
  }

  /** @returns whether there is a piece to read from; answers requests that have none */
  async #begin(): Promise<boolean> {
    for (let job = this.#queue[0]; this.#reading === undefined && job !== undefined; job = this.#queue[0]) {
      this.#queue.shift()
      const piece = await this.#open(job)
      if (piece instanceof Reading) {
        this.#reading = { job, piece }
        this.#answers.count(job, piece.length)
      } else if (piece === 'lacks') this.#answers.answer(job, 'lacks')
      else this.#answers.answer(job, 'too-large', piece.size)
    }
    return this.#reading !== undefined
  }

  async #open(job: Job): Promise<Awaited<ReturnType<typeof Reading.begin>>> {
    try {
      return await Reading.begin(job, this.#parts.shelf)
    } catch (error) {
      this.#parts.log.warn({ digest: String(job.digest), err: error }, 'what a peer asked for could not be opened')
      return 'lacks'
    }
  }

  /**
   * Takes the next part's bytes from what all peers together may be sent: before anything of it is held in memory.
   * @returns when it is our turn, `later` when what is packed should go out before that, `undefined` when it is now
   */
  #turn(): Promise<void> | 'later' | undefined {
    const { uploadLimit } = this.#parts
    const bytes = this.#partBytes
    if (uploadLimit === undefined || bytes === 0) return undefined
    if (this.#packer.open && !uploadLimit.ready(bytes)) return 'later'
    return uploadLimit.take(bytes, { signal: this.#channel.closed })
  }

  get #partBytes(): number {
    return Math.min(this.#parts.limits.partBytes, this.#reading?.piece.left ?? 0)
  }

  /** Reads a part of the current piece and packs it. @returns the frames that are full now */
  async #pack(): Promise<Frame<Job>[]> {
    const { uploadLimit } = this.#parts
    const taken = this.#partBytes
    if (this.#reading === undefined || this.#ended) {
      uploadLimit?.giveBack(taken)
      return []
    }
    const { job, piece } = this.#reading
    const { fresh } = piece
    try {
      if (job.cancelled) throw new ShoalError('PEER_GONE', 'cancelled')
      const part = await piece.next(this.#parts.limits.partBytes, this.#channel.closed)
      try {
        const frames = this.#packer.add(job, fresh ? this.#answers.head(job, piece) : undefined, part.bytes, piece.done)
        if (piece.done) this.#endReading()
        return frames
      } finally {
        part.release()
      }
    } catch (error) {
      uploadLimit?.giveBack(taken)
      this.#endReading()
      this.#unreadable(job, fresh, error)
      return []
    }
  }

  #unreadable(job: Job, fresh: boolean, error: unknown): void {
    if (fresh && !job.cancelled) this.#answers.answer(job, 'lacks')
    else {
      job.failing = true
      this.#settle(job)
    }
    if (job.cancelled || this.#channel.closed.aborted) return
    const code = codeOf(error)
    const shown = { digest: String(job.digest), index: job.index, code, err: code === undefined ? error : undefined }
    this.#parts.log.warn(shown, 'a piece could not be read for a peer')
    this.#parts.onShrunk(job.digest)
  }

  async #send({ frames, slot }: Part): Promise<void> {
    try {
      for (const frame of frames) {
        if (this.#ended) break
        // a head goes out once it is packed: the end of the same answer may share its frame with another's
        if (frame.spans.every(({ job }) => job.cancelled && job.started)) this.#drop(frame)
        else await this.#write(frame)
        slot?.touch()
      }
    } finally {
      this.#writingSince = undefined
      slot?.release()
    }
  }

  async #write({ bytes, spans }: Frame<Job>): Promise<void> {
    const { metrics, now, onServed } = this.#parts
    this.#writingSince = now()
    const written = this.#channel.write([bytes])
    // The ids are done with before the write has resolved: the peer may have it all by then, and ask anew under them.
    this.#sent.sent((spans.at(-1) as (typeof spans)[0]).job.id, bytes)
    for (const { job, last } of spans) {
      job.packed--
      job.started = true
      if (last && !job.failing) this.#answers.done(job)
      else this.#settle(job)
    }
    await written
    const pieceBytes = spans.reduce((sum, span) => sum + span.pieceBytes, 0)
    metrics.served('peer', pieceBytes)
    onServed(this.#channel.peerId, pieceBytes)
  }

  /** Nobody wants any of it any more. */
  #drop({ bytes, spans }: Frame<Job>): void {
    this.#parts.frames.give(bytes)
    for (const { job } of spans) {
      job.packed--
      job.failing = true
      this.#settle(job)
    }
  }

  #rest(): Frame<Job>[] {
    const frame = this.#packer.flush()
    return frame === undefined ? [] : [frame]
  }

  /** Says `fail` once nothing of the answer is on its way any more. */
  #settle(job: Job): void {
    if (job.failing && job.packed === 0 && this.#reading?.job !== job) this.#answers.fail(job)
  }

  #endReading(): void {
    this.#reading?.piece.end()
    this.#reading = undefined
  }

  #evict = (): void => this.abort(new ShoalError('PEER_TIMEOUT', 'others wait for what this peer does not take'))
}
