import { codeOf, ShoalError } from '../errors.ts'
import type { Channel } from '../net/channel.ts'
import { Outbox } from './outbox.ts'

export interface DialogueOptions {
  /** What the stream is for, as messages call it. */
  readonly name: string
  readonly now: () => number
  /** @throws ShoalError MESSAGE_MALFORMED, which ends it */
  readonly onChunk: (chunk: Uint8Array) => void
  /** It is over: what waits for an answer gets none. Called once. */
  readonly onOver: (reason: unknown) => void
  /** Whether the peer may end it now and nobody is harmed. */
  readonly idle: () => boolean
}

/** The life of one channel on which we ask and a peer answers: what goes out, when it was last heard, and why it is over. */
export class Dialogue {
  readonly #channel: Channel
  readonly #options: DialogueOptions
  readonly #outbox: Outbox
  #reason: unknown
  #heardAt: number
  /** Resolves when it is over, with why; `undefined` when that harmed nobody. */
  readonly over: Promise<unknown>

  constructor(channel: Channel, options: DialogueOptions) {
    this.#channel = channel
    this.#options = options
    this.#outbox = new Outbox(channel, options.now)
    this.#heardAt = options.now()
    this.over = this.#read()
  }

  get peerId(): string {
    return this.#channel.peerId
  }

  /** Why it is over; `undefined` while it is not. */
  get reason(): unknown {
    return this.#reason
  }

  /** When the peer was last heard, or first asked after a pause. */
  get heardAt(): number {
    return this.#heardAt
  }

  /** Something is asked after a pause: the peer's silence counts from now on. */
  begin(): void {
    this.#heardAt = this.#options.now()
  }

  send(message: Uint8Array): void {
    this.#outbox.push(message)
  }

  acknowledge(): void {
    this.#channel.acknowledge()
  }

  abort(reason: Error): void {
    this.#end(reason)
    this.#channel.abort(reason)
  }

  async close(): Promise<void> {
    this.#end(new ShoalError('PEER_GONE', 'the stream was closed'))
    await this.#outbox.flushed()
    await this.#channel.close()
  }

  async #read(): Promise<unknown> {
    let reason: unknown
    try {
      await this.#channel.read((chunk) => {
        this.#heardAt = this.#options.now()
        this.#options.onChunk(chunk)
      })
      reason = new ShoalError('PEER_GONE', `${this.peerId} ended its ${this.#options.name} stream`)
    } catch (error) {
      reason = error
    }
    const harmless = codeOf(reason) === 'PEER_GONE' && this.#options.idle()
    this.#end(reason)
    return harmless ? undefined : this.#reason
  }

  #end(reason: unknown): void {
    if (this.#reason !== undefined) return
    this.#reason = reason
    this.#options.onOver(reason)
  }
}
