import { encodePieceFail, encodePieceHead, type PieceRequest } from '../../protocols/piece/codec.ts'
import type { Channel } from '../net/channel.ts'
import { Outbox } from './outbox.ts'
import type { Reading } from './reading.ts'

/** A request until it is answered in full. */
export interface Job extends Omit<Extract<PieceRequest, { type: 'request' }>, 'type'> {
  /** What it counts for: as much as will be sent, as far as that is known. */
  countedBytes: number
  cancelled: boolean
  /** Its head has been written. */
  started: boolean
  /** Spans of its answer in frames that are not written yet. */
  packed: number
  /** Not all of the answer will be sent: a `fail` is due once what is packed is out. */
  failing: boolean
}

const FRESH = Object.freeze({ countedBytes: 0, cancelled: false, started: false, packed: 0, failing: false })

export interface AnswersParts {
  readonly now: () => number
  readonly load: () => number
}

/** The requests of one data stream that are not answered in full, and the answers to them that have no payload. */
export class Answers {
  readonly #parts: AnswersParts
  readonly #outbox: Outbox
  readonly #jobs = new Map<number, Job>()
  #bytes = 0

  constructor(channel: Channel, parts: AnswersParts) {
    this.#parts = parts
    this.#outbox = new Outbox(channel, parts.now)
  }

  /** Requests that are open. */
  get open(): number {
    return this.#jobs.size
  }

  /** What they will have of payload: not what they say that they would take, which costs them nothing. */
  get bytes(): number {
    return this.#bytes
  }

  /** Bytes of answers without payload that are not yet handed to the channel. */
  get queuedBytes(): number {
    return this.#outbox.queuedBytes
  }

  /** When the write of such answers that is under way began. */
  get blockedSince(): number | undefined {
    return this.#outbox.blockedSince
  }

  flushed(): Promise<void> {
    return this.#outbox.flushed()
  }

  get(id: number): Job | undefined {
    return this.#jobs.get(id)
  }

  /** @param bytes how long the answer will be, by what is known now */
  add({ id, digest, index, maxBytes, wantsClaim }: Extract<PieceRequest, { type: 'request' }>, bytes: number): Job {
    const job: Job = { id, digest, index, maxBytes, wantsClaim, ...FRESH }
    this.#jobs.set(id, job)
    this.count(job, bytes)
    return job
  }

  /** It is known now how long the answer will be. */
  count(job: Job, bytes: number): void {
    this.#bytes += bytes - job.countedBytes
    job.countedBytes = bytes
  }

  /** The head that goes in front of a piece. */
  head({ id }: Job, { size, length, mediaType, claim }: Reading): Uint8Array {
    return encodePieceHead({ type: 'head', id, status: 'ok', size, length, load: this.#parts.load(), mediaType, claim })
  }

  answer(job: Job, status: 'lacks' | 'too-large', size = 0): void {
    if (this.done(job)) this.say(job.id, status, size)
  }

  say(id: number, status: 'lacks' | 'busy' | 'refused' | 'too-large', size = 0): void {
    const load = this.#parts.load()
    this.#outbox.push(
      encodePieceHead({ type: 'head', id, status, size, length: 0, load, mediaType: undefined, claim: undefined }),
    )
  }

  fail(job: Job): void {
    if (this.done(job)) this.#outbox.push(encodePieceFail(job.id))
  }

  /** @returns whether it had still been open */
  done(job: Job): boolean {
    if (this.#jobs.get(job.id) !== job) return false
    this.#jobs.delete(job.id)
    this.#bytes -= job.countedBytes
    return true
  }
}
