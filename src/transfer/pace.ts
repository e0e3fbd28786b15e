import type { TransferLimits } from './limits.ts'

/** How fast what is remembered of the past fades: the throughput is that of about the last second of work. */
const MEMORY_MS = 1_000
/** Bytes before a measured throughput is believed. */
const ENOUGH_BYTES = 1024 * 1024
/** Added to the measured delay: what two busy event loops may take. Less starves a fast link; a slow one does not notice. */
const SLACK_MS = 20
/** Pieces up to this size are asked for two at a time at least, so that the peer always has the next one at hand. */
const DOUBLE_UP_TO_BYTES = 1024 * 1024

const BUSY_START_MS = 50
const BUSY_MAX_MS = 2_000

/**
 * What one peer's answers so far say of how much to ask of it, and how long to wait. Times are monotonic milliseconds, given by the caller.
 * Throughput counts only time in which something was outstanding; delay only requests sent when nothing was, because any
 * other waits behind our own.
 */
export class Pace {
  readonly #limits: TransferLimits
  #outstanding = 0
  #markedAt = 0
  #bytes = 0
  #elapsedMs = 0
  #delayMs: number | undefined
  #meanWaitMs: number | undefined
  #deviationMs = 0
  #refusals = 0
  #busyUntil = 0

  constructor(limits: TransferLimits) {
    this.#limits = limits
  }

  /** A request went out. @returns whether it went to an idle peer: pass it on to `started` */
  sent(now: number): boolean {
    const idle = this.#outstanding++ === 0
    if (idle) this.#markedAt = now
    return idle
  }

  /** The first byte of an answer came, `waitMs` after its request. */
  started(waitMs: number, wasIdle: boolean): void {
    if (wasIdle) {
      const delay = this.#delayMs ?? waitMs
      this.#delayMs = waitMs < delay ? waitMs : delay + (waitMs - delay) / 8
    }
    if (this.#meanWaitMs === undefined) {
      this.#meanWaitMs = waitMs
      this.#deviationMs = waitMs / 2
      return
    }
    const error = waitMs - this.#meanWaitMs
    this.#meanWaitMs += error / 8
    this.#deviationMs += (Math.abs(error) - this.#deviationMs) / 4
  }

  /** A request is over, and this many bytes came for it. */
  ended(bytes: number, now: number): void {
    this.#outstanding--
    const elapsed = Math.max(0, now - this.#markedAt)
    this.#markedAt = now
    if (bytes === 0) return
    const fade = Math.exp(-elapsed / MEMORY_MS)
    this.#bytes = this.#bytes * fade + bytes
    this.#elapsedMs = this.#elapsedMs * fade + elapsed
    this.#refusals = 0
  }

  /** The peer said that it has too much to do: each time in a row it is left alone for twice as long. */
  refused(now: number, random: () => number): void {
    const wait = Math.min(BUSY_MAX_MS, BUSY_START_MS * 2 ** this.#refusals++)
    this.#busyUntil = now + wait * (0.5 + random())
  }

  get busyUntil(): number {
    return this.#busyUntil
  }

  get bytesPerSecond(): number | undefined {
    return this.#elapsedMs > 0 ? (this.#bytes / this.#elapsedMs) * 1_000 : undefined
  }

  get patienceMs(): number {
    const { startPatienceMs, minPatienceMs, maxPatienceMs } = this.#limits
    if (this.#meanWaitMs === undefined) return startPatienceMs
    return clamp(this.#meanWaitMs + 4 * this.#deviationMs, minPatienceMs, maxPatienceMs)
  }

  /** Bytes that may be outstanding: two bandwidth-delay products, within bounds, and never less than a piece. */
  allowanceBytes(pieceBytes: number): number {
    const { minOutstandingBytes, maxOutstandingBytes, startOutstandingBytes } = this.#limits
    const pieces = pieceBytes <= DOUBLE_UP_TO_BYTES ? 2 * pieceBytes : pieceBytes
    const rate = this.bytesPerSecond
    if (rate === undefined || this.#bytes < ENOUGH_BYTES) return Math.max(startOutstandingBytes, pieces)
    const product = (rate * ((this.#delayMs ?? 0) + SLACK_MS)) / 1_000
    return Math.max(clamp(2 * product, minOutstandingBytes, maxOutstandingBytes), pieces)
  }
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value))
}
