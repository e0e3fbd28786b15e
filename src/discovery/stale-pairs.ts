export interface StaleLimits {
  readonly maxPairs: number
  /** How long a pair is remembered. */
  readonly forMs: number
}

const LIMITS: StaleLimits = Object.freeze({ maxPairs: 10_000, forMs: 10 * 60_000 })

interface Pair {
  until: number
  /** How often it was found stale. */
  times: number
}

/** Peers that turned out not to hold a blob that they were said to hold. */
export class StalePairs {
  readonly #limits: StaleLimits
  /** Oldest first. */
  readonly #pairs = new Map<string, Pair>()

  constructor(limits: Partial<StaleLimits> = {}) {
    this.#limits = { ...LIMITS, ...limits }
  }

  add(digest: string, peerId: string, now: number): void {
    const key = keyOf(digest, peerId)
    const times = (this.#pairs.get(key)?.times ?? 0) + 1
    this.#pairs.delete(key)
    this.#pairs.set(key, { until: now + this.#limits.forMs, times })
    if (this.#pairs.size > this.#limits.maxPairs) this.#pairs.delete(this.#pairs.keys().next().value as string)
  }

  has(digest: string, peerId: string, now: number): boolean {
    return (this.#pairs.get(keyOf(digest, peerId))?.until ?? now) > now
  }

  /** The peer says that it holds it now. It is believed once: saying it again and again does not make it true. */
  refute(digest: string, peerId: string, now: number): void {
    const pair = this.#pairs.get(keyOf(digest, peerId))
    if (pair?.times === 1) pair.until = now
  }
}

function keyOf(digest: string, peerId: string): string {
  return `${digest} ${peerId}`
}
