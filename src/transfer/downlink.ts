import { SLACK_MS } from './pace.ts'
import { Throughput } from './throughput.ts'

const MiB = 1024 * 1024

/** Pieces outstanding on however slow a link: the next is asked for before the last has come, of whoever is free. */
const FEW_PIECES = 9
/** Few pieces are still much on a slow link: it is kept busy for so long, and no piece waits much longer. Two at least. */
const FEW_MS = 900
const LEAST_PIECES = 2
/** Few large pieces are still much memory. */
const FEW_BYTES = 8 * MiB
const MAX_BYTES = 24 * MiB

/**
 * What this node has asked for of everybody, over all its downloads. A crowd that asks for more than a few pieces each gets every
 * one of them late, and can pass it on only late: so the bound is one for all peers together (two bandwidth-delay
 * products of this node's own downlink and a few pieces). Times are monotonic milliseconds.
 */
export class Downlink {
  readonly #throughput = new Throughput()
  #outstandingBytes = 0

  asked(bytes: number, now: number): void {
    this.#throughput.begin(now)
    this.#outstandingBytes += bytes
  }

  settled(bytes: number): void {
    this.#throughput.end()
    this.#outstandingBytes -= bytes
  }

  arrived(bytes: number, now: number): void {
    this.#throughput.add(bytes, now)
  }

  get outstandingBytes(): number {
    return this.#outstandingBytes
  }

  get bytesPerSecond(): number | undefined {
    return this.#throughput.bytesPerSecond
  }

  /**
   * How much more to ask for now.
   * @param delayMs what the neighbours in use take to answer when they are idle
   */
  roomBytes(pieceBytes: number, delayMs: number): number {
    return allowedBytes(pieceBytes, this.bytesPerSecond, delayMs) - this.#outstandingBytes
  }
}

/** What may be outstanding in total on a link of this measured rate. */
export function allowedBytes(pieceBytes: number, bytesPerSecond: number | undefined, delayMs: number): number {
  const most = Math.max(pieceBytes, Math.min(FEW_PIECES * pieceBytes, FEW_BYTES))
  if (bytesPerSecond === undefined) return most
  const few = Math.min(most, Math.max(LEAST_PIECES * pieceBytes, (bytesPerSecond * FEW_MS) / 1_000 + pieceBytes))
  return Math.min(few + (2 * bytesPerSecond * (delayMs + SLACK_MS)) / 1_000, Math.max(MAX_BYTES, few))
}
