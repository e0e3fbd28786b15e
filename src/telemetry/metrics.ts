/** What shoal counts. Parts call these; only `prometheus.ts` knows the library. */
export interface Metrics {
  /** Verified bytes that came into the store. */
  downloaded(source: 'origin' | 'peer', bytes: number): void
  served(to: 'peer' | 'client', bytes: number): void
  /** A piece whose hash was wrong: from a peer, the origin, or our own disk. */
  pieceFailed(where: 'peer' | 'origin' | 'disk'): void
  /** Piece bytes received that were already held. */
  wasted(bytes: number): void
  downloadEnded(outcome: 'complete' | 'cancelled' | 'failed'): void
}

export const NO_METRICS: Metrics = Object.freeze({
  downloaded() {},
  served() {},
  pieceFailed() {},
  wasted() {},
  downloadEnded() {},
})
