import { ShoalError } from '../../protocols/error.ts'
import { BoundedMap } from './bounded-map.ts'

/** Remembers which upstream said "not before", and to whom: nobody asks again until then. */
export class CoolDowns {
  readonly #until = new BoundedMap<string, number>(1_000)

  /** @param now monotonic milliseconds */
  start(key: string, retryAfterMs: number, now: number): void {
    this.#until.set(key, Math.max(this.#until.get(key) ?? 0, now + retryAfterMs))
  }

  /** @throws ShoalError ORIGIN_RATE_LIMITED while it lasts */
  check(key: string, name: string, now: number): void {
    const leftMs = (this.#until.get(key) ?? 0) - now
    if (leftMs > 0) throw rateLimited(name, leftMs)
    this.#until.delete(key)
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
