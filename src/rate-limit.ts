import { type Clock, SYSTEM_CLOCK } from './clock.ts'
import { type BucketLimits, TokenBucket } from './token-bucket.ts'

/** What may pass at once after a pause, as time: timers that come late must not cost speed. */
const BURST_MS = 100

export interface RateLimitOptions {
  readonly bytesPerSecond: number
  /** What may pass at once after a pause. Default: what passes in a tenth of a second. */
  readonly burstBytes?: number
  readonly clock?: Clock
}

interface Waiter {
  readonly bytes: number
  readonly pass: () => void
}

/** Bytes a second that all who take from it share, in the order in which they come. */
export class RateLimit {
  readonly bytesPerSecond: number
  readonly #limits: BucketLimits
  readonly #clock: Clock
  readonly #bucket = new TokenBucket()
  readonly #waiting = new Set<Waiter>()
  #cancelTimer: (() => void) | undefined

  constructor({ bytesPerSecond, burstBytes = (bytesPerSecond * BURST_MS) / 1000, clock = SYSTEM_CLOCK }: RateLimitOptions) {
    this.bytesPerSecond = bytesPerSecond
    this.#limits = { burst: Math.max(1, burstBytes), refillMs: 1000 / bytesPerSecond }
    this.#clock = clock
  }

  /** How many wait for their turn. */
  get waiting(): number {
    return this.#waiting.size
  }

  /** Whether `take` would not wait. */
  ready(bytes: number): boolean {
    return this.#waiting.size === 0 && this.#bucket.waitMs(this.#clock.now(), this.#limits, bytes) === 0
  }

  /** Takes the bytes: at once, and then gives `undefined`, or when they are there and everybody before was served. @throws the signal's reason */
  take(bytes: number, { signal }: { signal: AbortSignal }): Promise<void> | undefined {
    signal.throwIfAborted()
    if (this.#waiting.size === 0 && this.#bucket.take(this.#clock.now(), this.#limits, bytes)) return undefined
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const waiter: Waiter = {
      bytes,
      pass: () => {
        signal.removeEventListener('abort', onAbort)
        resolve()
      },
    }
    const onAbort = () => {
      this.#waiting.delete(waiter)
      reject(signal.reason)
      this.#serve()
    }
    signal.addEventListener('abort', onAbort, { once: true })
    this.#waiting.add(waiter)
    this.#serve()
    return promise
  }

  /** These bytes pass without waiting, and are paid for by those that come after. */
  owe(bytes: number): void {
    this.#bucket.owe(this.#clock.now(), this.#limits, bytes)
  }

  /** These bytes were taken and did not pass. */
  giveBack(bytes: number): void {
    this.#bucket.owe(this.#clock.now(), this.#limits, -bytes)
    this.#serve()
  }

  #serve(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
    const now = this.#clock.now()
    for (const waiter of this.#waiting) {
      if (!this.#bucket.take(now, this.#limits, waiter.bytes)) {
        const waitMs = Math.ceil(this.#bucket.waitMs(now, this.#limits, waiter.bytes))
        this.#cancelTimer = this.#clock.after(waitMs, () => this.#serve())
        return
      }
      this.#waiting.delete(waiter)
      waiter.pass()
    }
  }
}

/** The limit of a rate that may be off. */
export function limitOf(bytesPerSecond: number | undefined): RateLimit | undefined {
  return bytesPerSecond === undefined ? undefined : new RateLimit({ bytesPerSecond })
}
