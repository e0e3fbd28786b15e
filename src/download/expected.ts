/** Taken for a neighbour's delay before it is known. */
const UNKNOWN_DELAY_MS = 10

/** A neighbour, as far as it is known how fast it is. */
export interface Timed {
  readonly bytesPerSecond: number | undefined
  /** What it takes to answer when it is idle. */
  readonly delayMs: number | undefined
  /** What it owes us already. */
  readonly outstandingBytes: number
}

/** How long a peer should take to give so many bytes; `undefined`: who knows. */
export function expectedMs({ bytesPerSecond, delayMs, outstandingBytes }: Timed, bytes: number): number | undefined {
  if (bytesPerSecond === undefined || bytesPerSecond === 0) return undefined
  return (delayMs ?? UNKNOWN_DELAY_MS) + ((outstandingBytes + bytes) * 1_000) / bytesPerSecond
}

/** What the nearest neighbour takes to answer when it is idle: where all are busy, most samples are of their queues. */
export function nearestMs(neighbours: Iterable<Pick<Timed, 'delayMs'>>): number {
  let least: number | undefined
  for (const { delayMs } of neighbours) if (delayMs !== undefined && (least === undefined || delayMs < least)) least = delayMs
  return least ?? UNKNOWN_DELAY_MS
}
