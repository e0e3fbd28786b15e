import { createFrameDecoder, encodeFrame } from '../../protocols/frame.ts'
import { decodeRendezvousMessage, encodeRendezvousMessage, type RendezvousMessage } from '../../protocols/rendezvous/codec.ts'
import { ShoalError } from '../errors.ts'
import type { Channel } from '../net/channel.ts'

/** What may wait for a peer that does not read. */
const MAX_QUEUED_BYTES = 512 * 1024

/** Messages over one channel. What is said in one turn of the event loop, or while a write is under way, leaves in one write. */
export class Wire {
  readonly #channel: Channel
  #queue: Uint8Array[] = []
  #queuedBytes = 0
  #flushing: Promise<void> | undefined
  #over = false

  constructor(channel: Channel) {
    this.#channel = channel
  }

  say(message: RendezvousMessage): void {
    if (this.#over) return
    const frame = encodeFrame(encodeRendezvousMessage(message))
    this.#queue.push(frame)
    this.#queuedBytes += frame.length
    if (this.#queuedBytes > MAX_QUEUED_BYTES) {
      this.abort(new ShoalError('PEER_TIMEOUT', `${this.#channel.peerId} does not read what it is told`))
      return
    }
    this.#flushing ??= this.#flush()
  }

  /** Resolves at the peer's clean end. @throws ShoalError PEER_GONE, MESSAGE_MALFORMED, MESSAGE_TOO_LARGE, what `hear` throws */
  async listen(maxBytes: number, hear: (message: RendezvousMessage) => void): Promise<void> {
    const decoder = createFrameDecoder(maxBytes, (frame) => hear(decodeRendezvousMessage(frame)))
    try {
      await this.#channel.read((chunk) => decoder.push(chunk))
    } finally {
      this.#over = true
    }
  }

  async close(): Promise<void> {
    await this.#flushing
    this.#over = true
    await this.#channel.close()
  }

  abort(reason: Error): void {
    this.#over = true
    this.#queue = []
    this.#queuedBytes = 0
    this.#channel.abort(reason)
  }

  async #flush(): Promise<void> {
    await undefined
    try {
      while (this.#queue.length > 0) {
        const frames = this.#queue
        this.#queue = []
        this.#queuedBytes = 0
        await this.#channel.write(frames)
      }
    } catch {
      // whoever listens learns that the channel is over
      this.#over = true
      this.#queue = []
    }
    this.#flushing = undefined
  }
}
