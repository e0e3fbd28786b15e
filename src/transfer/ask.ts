import type { Claim } from '../../protocols/claim/codec.ts'
import type { Digest } from '../../protocols/digest.ts'
import { createPieceAnswerDecoder, encodePieceRequest, type PieceHead } from '../../protocols/piece/codec.ts'
import { geometryOf, pieceLength } from '../../protocols/pieces.ts'
import { ShoalError } from '../errors.ts'
import type { Channel } from '../net/channel.ts'
import { Dialogue } from './dialogue.ts'
import type { Pace } from './pace.ts'

/** Requests that may be open on one stream, cancelled ones whose answer is still to come included. */
const MAX_OPEN = 4_096

export interface PieceQuestion {
  readonly digest: Digest
  readonly index: number
  /** Where the bytes go; not touched any more once `ask` has settled. */
  readonly into: Uint8Array
  readonly signal: AbortSignal
  /** Called as bytes arrive, with how many have so far. */
  readonly onProgress: ((bytes: number) => void) | undefined
  /** Set: a claim about the piece is wanted with it. Called when the answer has begun, with what came: nothing of it has been verified. */
  readonly onClaim: ((claim: Claim | undefined) => void) | undefined
  /** Called once, when nothing more can come for it, with the bytes that came although it had been cancelled. */
  readonly onOver?: ((wastedBytes: number) => void) | undefined
}

interface OpenAsk {
  readonly id: number
  readonly question: PieceQuestion
  readonly sentAt: number
  readonly wasIdle: boolean
  readonly onAbort: () => void
  readonly resolve: (head: PieceHead) => void
  readonly reject: (error: unknown) => void
  head: PieceHead | undefined
  received: number
  cancelled: boolean
}

export interface AskerOptions {
  readonly pace: Pace
  readonly now: () => number
  /** Piece bytes that came in. */
  readonly onBytes: (bytes: number) => void
  /** Those of them whose request was cancelled. */
  readonly onWasted: (bytes: number) => void
}

/**
 * The asking side of one data stream. Every byte that arrives is one that was asked for, and goes straight to where it was
 * asked to; anything else is MESSAGE_MALFORMED and ends the stream. Answers may come in any order.
 */
export class Asker {
  readonly #dialogue: Dialogue
  readonly #options: AskerOptions
  readonly #open = new Map<number, OpenAsk>()
  readonly #freeIds: number[] = []
  #nextId = 0

  constructor(channel: Channel, options: AskerOptions) {
    this.#options = options
    const decode = createPieceAnswerDecoder({
      onHead: (head) => this.#onHead(head),
      onData: (id, part) => this.#onData(id, part),
      onFail: (id) => this.#onFail(id),
    })
    this.#dialogue = new Dialogue(channel, {
      name: 'data',
      now: options.now,
      onChunk: (chunk) => decode.push(chunk),
      onOver: (reason) => this.#failAll(reason),
      // a stream that went while nothing was open on it is opened again when needed
      idle: () => this.#open.size === 0,
    })
  }

  /** Resolves when the stream is over, with why; `undefined` when nothing was open on it. */
  get over(): Promise<unknown> {
    return this.#dialogue.over
  }

  /** Answers still to come, those of cancelled questions included. */
  get open(): number {
    return this.#open.size
  }

  /** When the stream last brought anything or was asked something. */
  get heardAt(): number {
    return this.#dialogue.heardAt
  }

  /**
   * Resolves with the head when all its bytes have arrived.
   * @throws ShoalError PEER_GONE, MESSAGE_MALFORMED, PEER_LACKS_PIECE (it failed midway), or the signal's reason
   */
  ask(question: PieceQuestion): Promise<PieceHead> {
    const { signal, digest, index, into, onClaim, onOver } = question
    const refusal = this.#refusal(signal)
    if (refusal !== undefined) {
      onOver?.(0)
      return Promise.reject(refusal)
    }
    const { promise, resolve, reject } = Promise.withResolvers<PieceHead>()
    const now = this.#options.now()
    if (this.#open.size === 0) this.#dialogue.begin()
    const id = this.#freeId()
    const wantsClaim = onClaim !== undefined
    const message = encodePieceRequest({ type: 'request', id, digest, index, maxBytes: into.length, wantsClaim })
    const onAbort = () => this.#cancel(id)
    const wasIdle = this.#options.pace.sent(now)
    this.#open.set(id, {
      id,
      question,
      sentAt: now,
      wasIdle,
      onAbort,
      resolve,
      reject,
      head: undefined,
      received: 0,
      cancelled: false,
    })
    signal.addEventListener('abort', onAbort)
    this.#dialogue.send(message)
    return promise
  }

  /** Why nothing can be asked, if so. */
  #refusal(signal: AbortSignal): unknown {
    if (signal.aborted) return signal.reason
    if (this.#open.size >= MAX_OPEN) return new ShoalError('PEER_BUSY', 'too many requests are open to this peer')
    return this.#dialogue.reason
  }

  /** Ends the stream; what is open fails with the reason. */
  abort(reason: Error): void {
    this.#dialogue.abort(reason)
  }

  async close(): Promise<void> {
    await this.#dialogue.close()
  }

  #onHead(head: PieceHead): void {
    const ask = this.#expected(head.id)
    if (ask.head !== undefined) throw malformed(`a second head for request ${head.id}`)
    ask.head = head
    this.#started(ask)
    if (head.status !== 'ok') {
      this.#end(ask)
      return
    }
    const { index, into, onClaim } = ask.question
    if (head.length > into.length) throw malformed(`${head.length} bytes for a request of at most ${into.length}`)
    const geometry = geometryOf(head.size)
    const right =
      geometry.pieces === 0
        ? index === 0 && head.length === 0
        : index < geometry.pieces && pieceLength(geometry, index) === head.length
    if (!right) throw malformed(`${head.length} bytes for piece ${index} of a blob of ${head.size}`)
    const { claim } = head
    if (claim !== undefined && onClaim === undefined) throw malformed('a claim that was not wanted')
    if (claim !== undefined && !covers(claim, index)) throw malformed(`a claim that does not cover piece ${index}`)
    if (!ask.cancelled) onClaim?.(claim)
    if (head.length === 0) this.#end(ask)
  }

  #onData(id: number, part: Uint8Array): void {
    const ask = this.#expected(id)
    const length = ask.head?.length ?? -1
    if (ask.received + part.length > length) throw malformed(`data beyond the answer to request ${id}`)
    this.#options.onBytes(part.length)
    if (ask.cancelled) {
      ask.received += part.length
      this.#options.onWasted(part.length)
    } else {
      ask.question.into.set(part, ask.received)
      ask.received += part.length
      ask.question.onProgress?.(ask.received)
    }
    if (ask.received === length) this.#end(ask)
  }

  #onFail(id: number): void {
    const ask = this.#expected(id)
    this.#remove(ask)
    ask.reject(new ShoalError('PEER_LACKS_PIECE', `${this.#dialogue.peerId} could not read piece ${ask.question.index}`))
  }

  #started(ask: OpenAsk): void {
    const now = this.#options.now()
    this.#options.pace.started(now - ask.sentAt, ask.wasIdle, now)
  }

  #end(ask: OpenAsk): void {
    this.#remove(ask)
    ask.resolve(ask.head as PieceHead)
  }

  #remove(ask: OpenAsk): void {
    this.#open.delete(ask.id)
    this.#freeIds.push(ask.id)
    ask.question.signal.removeEventListener('abort', ask.onAbort)
    this.#options.pace.ended(ask.received, this.#options.now())
    ask.question.onOver?.(ask.cancelled ? ask.received : 0)
    if (this.#open.size === 0) this.#dialogue.acknowledge()
  }

  /** The answer that is still to come, or on its way, is taken and thrown away: it was asked for, so it is bounded. */
  #cancel(id: number): void {
    const ask = this.#open.get(id)
    if (ask === undefined || ask.cancelled) return
    ask.cancelled = true
    this.#options.onWasted(ask.received)
    this.#dialogue.send(encodePieceRequest({ type: 'cancel', id }))
    ask.reject(ask.question.signal.reason)
  }

  #failAll(reason: unknown): void {
    for (const ask of [...this.#open.values()]) {
      this.#remove(ask)
      ask.reject(reason)
    }
  }

  #expected(id: number): OpenAsk {
    const ask = this.#open.get(id)
    if (ask === undefined) throw malformed(`an answer to request ${id}, which is not open`)
    return ask
  }

  /** The id that was freed last: asking under it again tells the peer that its answer has arrived. */
  #freeId(): number {
    return this.#freeIds.pop() ?? this.#nextId++
  }
}

function covers({ first, hashes }: Claim, index: number): boolean {
  return first <= index && index < first + hashes.length
}

function malformed(message: string): ShoalError {
  return new ShoalError('MESSAGE_MALFORMED', message)
}
