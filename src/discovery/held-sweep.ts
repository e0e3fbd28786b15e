import type { Digest } from '../../protocols/digest.ts'
import type { Log } from '../telemetry/log.ts'

/** Where announcements go. */
export interface Sink {
  offer(digest: Digest): void
  /** Resolves when there is room for more, or when it is closed. */
  ready(): Promise<void>
}

/** Tells a sink everything that this node holds, as fast as the sink takes it; one pass at a time. */
export class HeldSweep {
  readonly #held: () => AsyncIterable<Digest>
  readonly #sink: Sink
  readonly #log: Log
  #running: Promise<void> | undefined
  #closed = false

  constructor(held: () => AsyncIterable<Digest>, sink: Sink, log: Log) {
    this.#held = held
    this.#sink = sink
    this.#log = log
  }

  start(): void {
    if (this.#closed) return
    this.#running ??= this.#sweep().finally(() => {
      this.#running = undefined
    })
  }

  /** Resolves when nothing of it runs any more. Close the sink first. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#running
  }

  async #sweep(): Promise<void> {
    try {
      for await (const digest of this.#held()) {
        if (this.#closed) return
        this.#sink.offer(digest)
        await this.#sink.ready()
      }
    } catch (error) {
      this.#log.warn({ err: error }, 'announcing what is held stopped early')
    }
  }
}
