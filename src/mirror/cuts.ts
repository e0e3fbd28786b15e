import type { Digest } from '../../protocols/digest.ts'
import type { BlobMeta } from '../store/store.ts'
import { ExpiringMap } from './expiring-map.ts'

/** Long enough for a client whose body was cut to come back, find 404, and go on at the registry. */
const HOLD_MS = 5_000
/** A pull in chunks is over, or has asked again, within this. */
const KNOWN_MS = 10 * 60_000
const MAX_BLOBS = 4096
const MAX_CUTS = 64

/** A blob of which a part was answered. */
export interface Answered {
  readonly size: number
  readonly meta: BlobMeta
}

interface Cut {
  readonly start: number
  readonly end: number
}

/**
 * What this mirror said of blobs a moment ago, so that its next answers fit how containerd reads them:
 * - a body that was cut is asked for again from the first missing byte; 404 then makes it go on at the registry from
 *   there ("cut, then 404");
 * - but when it pulls a blob in chunks, only the first chunk may be refused: 404 to the first request of a later chunk
 *   fails the whole pull. So once a part was answered, later parts get their headers at once, and a cut if need be.
 */
export class Cuts {
  readonly #answered: ExpiringMap<Answered>
  readonly #cuts: ExpiringMap<readonly Cut[]>

  constructor(now: () => number) {
    this.#answered = new ExpiringMap(MAX_BLOBS, now)
    this.#cuts = new ExpiringMap(MAX_BLOBS, now)
  }

  /** A part of this blob was answered 2xx. */
  answered(digest: Digest, { size, meta }: Answered): void {
    this.#answered.set(String(digest), { size, meta }, KNOWN_MS)
  }

  /** What is known of the blob, if a part of it was answered lately; whose it is holds even when it is no longer stored. */
  lately(digest: Digest): Answered | undefined {
    return this.#answered.get(String(digest))
  }

  /** A body that began at `start` was cut by us after `end`. */
  cut(digest: Digest, start: number, end: number): void {
    const key = String(digest)
    this.#cuts.set(key, [...(this.#cuts.get(key) ?? []).slice(1 - MAX_CUTS), { start, end }], HOLD_MS)
  }

  /** Whether a request that begins at `start` is to be sent away: it comes from the beginning, or goes on where we cut. */
  refuses(digest: Digest, start: number | undefined): boolean {
    const cuts = this.#cuts.get(String(digest))
    if (cuts === undefined) return false
    return start === undefined || start === 0 || cuts.some((cut) => cut.start <= start && start <= cut.end)
  }
}
