import type { OriginPause } from '../../protocols/beacon/codec.ts'
import { MAX_PAUSE_MS } from '../../protocols/beacon/limits.ts'
import { ShoalError } from '../../protocols/error.ts'
import { BoundedMap } from './bounded-map.ts'
import { ToldPauses } from './told-pauses.ts'

/** An origin as somebody asks it. */
export interface Asker {
  /** A registry's name, or a file server's host and port. */
  readonly origin: string
  /** Where that is: host and port. */
  readonly host: string
  /** Whether without credentials, with the operator's, or with a client's own. */
  readonly who: 'nobody' | 'operator' | 'client'
  /** Tells askers apart, and says nothing about them. */
  readonly key: string
}

/** An origin that is not asked at the moment. */
export interface PausedOrigin {
  readonly origin: string
  readonly who: Asker['who'] | 'everybody'
  readonly forMs: number
  /** The member of the zone that told of it; `undefined` for the origin itself. */
  readonly author: string | undefined
}

export interface CoolDownOptions {
  /** Monotonic milliseconds. */
  readonly now: () => number
  readonly random: () => number
  /** The zone should know. */
  readonly onPause: (pause: OriginPause) => void
}

type OwnPause = Omit<PausedOrigin, 'forMs' | 'author'> & { readonly until: number }

/** Remembers which origin said "not before", and to whom, also what other members of the zone were told: nobody asks again until then. */
export class CoolDowns {
  readonly #options: CoolDownOptions
  readonly #own = new BoundedMap<string, OwnPause>(1_000)
  readonly #told = new ToldPauses()

  constructor(options: CoolDownOptions) {
    this.#options = options
  }

  /** An origin asked to be left alone: by whoever asked it so, or by everybody. */
  start({ origin, host, who: asker, key }: Asker, scope: 'asker' | 'everybody', retryAfterMs: number): void {
    const now = this.#options.now()
    const who = scope === 'everybody' ? scope : asker
    const ownKey = `${host} ${scope === 'everybody' ? scope : key}`
    const until = Math.max(this.#own.get(ownKey)?.until ?? 0, now + retryAfterMs)
    this.#own.set(ownKey, { origin, who, until })
    const toTell = Math.min(MAX_PAUSE_MS, Math.ceil(retryAfterMs))
    if (who === 'client' || this.#told.leftMs(origin, who, now) >= toTell) return
    this.#options.onPause({ type: 'pause', origin, who, retryAfterMs: toTell })
  }

  /** A member of the zone says that it was told so. @returns whether it is believed */
  heed(author: string, pause: OriginPause): boolean {
    return this.#told.hear(author, pause, this.#options.now(), this.#options.random)
  }

  /** @throws ShoalError ORIGIN_RATE_LIMITED while it lasts */
  check({ origin, host, who, key }: Asker): void {
    const now = this.#options.now()
    const own = [this.#own.get(`${host} everybody`), this.#own.get(`${host} ${key}`)].map((pause) => (pause?.until ?? 0) - now)
    const told = who === 'client' ? 0 : this.#told.leftMs(origin, who, now)
    const leftMs = Math.max(...own, told, this.#told.leftMs(origin, 'everybody', now))
    if (leftMs > 0) throw rateLimited(origin, leftMs)
  }

  /** What is not asked now. */
  list(): readonly PausedOrigin[] {
    const now = this.#options.now()
    const own = [...this.#own.values()].map((pause) => ({ ...pause, author: undefined }))
    return [...own, ...this.#told.list(now)].flatMap(({ until, origin, who, author }) =>
      until > now ? [{ origin, who, author, forMs: Math.ceil(until - now) }] : [],
    )
  }
}

export function rateLimited(name: string, retryAfterMs: number, said = ''): ShoalError {
  const retryMs = Math.ceil(retryAfterMs)
  return new ShoalError(
    'ORIGIN_RATE_LIMITED',
    `${name} limits requests: again in ${Math.ceil(retryMs / 1000)} s${said === '' ? '' : ` (${said})`}`,
    {
      detail: { retryAfterMs: retryMs },
    },
  )
}
