import type { OriginPause } from '../../protocols/beacon/codec.ts'
import { BoundedMap } from './bounded-map.ts'

/** So long one member is not believed again about the same: a lie costs a tenth of the time at most. */
const BELIEVED_AGAIN_MS = 600_000
/** Not all come back in the same moment. */
const MAX_JITTER_MS = 1_000
const MAX_ORIGINS = 1_000
const MAX_WORDS = 10_000

/** A pause that somebody told of, and who. */
export interface ToldPause {
  readonly origin: string
  readonly who: OriginPause['who']
  readonly author: string
  /** Monotonic milliseconds. */
  readonly until: number
}

/** What members of the zone say of origins that want to be left alone, as far as it is believed. Bounded; time and chance are arguments. */
export class ToldPauses {
  readonly #pauses = new BoundedMap<string, ToldPause>(MAX_ORIGINS)
  readonly #believedAt = new BoundedMap<string, number>(MAX_WORDS)

  /** @returns whether it is believed */
  hear(author: string, { origin, who, retryAfterMs }: OriginPause, now: number, random: () => number): boolean {
    const key = `${who} ${origin}`
    const word = `${author} ${key}`
    const believedAt = this.#believedAt.get(word)
    if (believedAt !== undefined && now - believedAt < BELIEVED_AGAIN_MS) return false
    this.#believedAt.set(word, now)
    const until = now + retryAfterMs + random() * Math.min(MAX_JITTER_MS, retryAfterMs / 10)
    if (until > (this.#pauses.get(key)?.until ?? 0)) this.#pauses.set(key, { origin, who, author, until })
    return true
  }

  /** How long an origin is still to be left alone by these. */
  leftMs(origin: string, who: OriginPause['who'], now: number): number {
    return Math.max(0, (this.#pauses.get(`${who} ${origin}`)?.until ?? 0) - now)
  }

  /** Those in force. */
  list(now: number): readonly ToldPause[] {
    return [...this.#pauses.values()].filter(({ until }) => until > now)
  }
}
