import type { TransferLimits } from './limits.ts'
import { Shortest } from './shortest.ts'
import { Throughput } from './throughput.ts'

/** Bytes before a measured throughput is believed. */
const ENOUGH_BYTES = 1024 * 1024
/** Added to the measured delay: what two busy event loops may take. Less starves a fast link; a slow one does not notice. */
export const SLACK_MS = 20
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
  readonly #throughput = new Throughput()
  readonly #delay = new Shortest()
  #meanWaitMs: number | undefined
  #deviationMs = 0
  #refusals = 0
  #busyUntil = 0

  constructor(limits: TransferLimits) {
    this.#limits = limits
  }

  /** A request went out. @returns whether it went to an idle peer: pass it on to `started` */
  sent(now: number): boolean {
    return this.#throughput.begin(now)
  }

  /** The first byte of an answer came, `waitMs` after its request. */
  started(waitMs: number, wasIdle: boolean, now: number): void {
    if (wasIdle) this.#delay.add(waitMs, now)
    if (this.#meanWaitMs === undefined) {
      this.#meanWaitMs = waitMs
      this.#deviationMs = waitMs / 2
      return
    }
    const error = waitMs - this.#meanWaitMs
    this.#meanWaitMs += error / 8
    this.#deviationMs += (Math.abs(error) - this.#deviationMs) / 4
  }

  /** The peer took so long to answer something that costs it nothing. */
  delayed(ms: number, now: number): void {
    this.#delay.add(ms, now)
  }

  /** A request is over, and this many bytes came for it. */
  ended(bytes: number, now: number): void {
    this.#throughput.end()
    if (bytes === 0) return
    this.#throughput.add(bytes, now)
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
    return this.#throughput.bytesPerSecond
  }

  /** What an idle peer took to answer, at best, in the last seconds. */
  get delayMs(): number | undefined {
    return this.#delay.value
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
    if (rate === undefined || this.#throughput.bytes < ENOUGH_BYTES) return Math.max(startOutstandingBytes, pieces)
    const product = (rate * ((this.delayMs ?? 0) + SLACK_MS)) / 1_000
    return Math.max(clamp(2 * product, minOutstandingBytes, maxOutstandingBytes), pieces)
  }
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(high, Math.max(low, value))
}
