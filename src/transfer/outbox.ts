import type { Channel } from '../net/channel.ts'

/**
 * Small messages on their way out of one channel. What is pushed in one turn of the event loop, or while a write is
 * under way, leaves in one write: many small messages cost one frame.
 */
export class Outbox {
  readonly #channel: Channel
  readonly #now: () => number
  #pending: Uint8Array[] = []
  #pendingBytes = 0
  #flushing: Promise<void> | undefined
  #failed = false
  #blockedSince: number | undefined

  constructor(channel: Channel, now: () => number) {
    this.#channel = channel
    this.#now = now
  }

  /** When the write under way began. */
  get blockedSince(): number | undefined {
    return this.#blockedSince
  }

  /** Bytes not yet handed to the channel. */
  get queuedBytes(): number {
    return this.#pendingBytes
  }

  push(message: Uint8Array): void {
    if (this.#failed) return
    this.#pending.push(message)
    this.#pendingBytes += message.length
    this.#flushing ??= this.#flush()
  }

  /** Resolves when everything pushed so far was taken by the channel, or the channel is over. */
  async flushed(): Promise<void> {
    await this.#flushing
  }

  async #flush(): Promise<void> {
    await undefined
    try {
      while (this.#pending.length > 0) {
        const parts = this.#pending
        this.#pending = []
        this.#pendingBytes = 0
        this.#blockedSince = this.#now()
        await this.#channel.write(parts)
      }
    } catch {
      // whoever reads the channel learns that it is over
      this.#failed = true
      this.#pending = []
      this.#pendingBytes = 0
    }
    this.#blockedSince = undefined
    this.#flushing = undefined
  }
}
