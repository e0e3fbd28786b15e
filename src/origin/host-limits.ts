import { RateLimit } from '../rate-limit.ts'
import { ALL_OTHERS } from '../rates.ts'
import { BoundedMap } from './bounded-map.ts'
import { type Leave, Places } from './places.ts'
import { createUpstreams } from './upstreams.ts'

export interface HostLimitsOptions {
  /** Requests at a time, by the name of a registry or host; `*` for each of all others. */
  readonly requests: ReadonlyMap<string, number>
  /** Bytes a second, in the same way. */
  readonly rate: ReadonlyMap<string, number | undefined>
  /** Where registries are whose name is not their host. */
  readonly upstreams: ReadonlyMap<string, URL>
  /** What may come from peers and origins together. */
  readonly download?: RateLimit | undefined
  readonly defaultRequests: number
}

/** Requests that wait for one another: blobs, and everything else, which is small and never waits for blobs. */
export type RequestClass = 'bulk' | 'small'

/** Hosts whose places are remembered; those that are in use beyond that are forgotten with their places, which only lets more in. */
const MAX_HOSTS = 1_000

/** How much each origin, by host and port, is asked at a time, and how fast it is read. */
export class HostLimits {
  readonly #requests: ReadonlyMap<string, number>
  readonly #rate: ReadonlyMap<string, number | undefined>
  readonly #download: RateLimit | undefined
  readonly #defaultRequests: number
  readonly #places = new BoundedMap<string, Places>(2 * MAX_HOSTS)
  readonly #rates = new BoundedMap<string, RateLimit>(MAX_HOSTS)

  constructor({ requests, rate, upstreams, download, defaultRequests }: HostLimitsOptions) {
    this.#requests = byHost(requests, upstreams)
    this.#rate = byHost(rate, upstreams)
    this.#download = download
    this.#defaultRequests = defaultRequests
  }

  /** The most requests of a class that any host gets. */
  get maxRequests(): number {
    return Math.max(this.#defaultRequests, ...this.#requests.values())
  }

  /** Waits for a place at a host. @throws the signal's reason */
  enter(host: string, requests: RequestClass, options: { signal: AbortSignal }): Promise<Leave> {
    const key = `${requests} ${host}`
    const places = this.#places.get(key) ?? new Places(this.#of(this.#requests, host) ?? this.#defaultRequests)
    this.#places.set(key, places)
    return places.take(options)
  }

  /** Counts bytes that came from a host; those of blobs wait for their turn, what is small is paid for by what comes after. */
  pace(host: string, requests: RequestClass, bytes: number, options: { signal: AbortSignal }): Promise<void> | undefined {
    const own = this.#rateOf(host)
    if (requests === 'small') {
      own?.owe(bytes)
      this.#download?.owe(bytes)
      return undefined
    }
    const turn = own?.take(bytes, options)
    if (turn === undefined) return this.#download?.take(bytes, options)
    return turn.then(() => this.#download?.take(bytes, options))
  }

  #rateOf(host: string): RateLimit | undefined {
    const bytesPerSecond = this.#of(this.#rate, host)
    if (bytesPerSecond === undefined) return undefined
    const limit = this.#rates.get(host) ?? new RateLimit({ bytesPerSecond })
    this.#rates.set(host, limit)
    return limit
  }

  #of<T>(limits: ReadonlyMap<string, T>, host: string): T | undefined {
    return limits.has(host) ? limits.get(host) : limits.get(ALL_OTHERS)
  }
}

/** Names as people write them to hosts as URLs have them. */
function byHost<T>(limits: ReadonlyMap<string, T>, configured: ReadonlyMap<string, URL>): ReadonlyMap<string, T> {
  const upstreams = createUpstreams(configured)
  return new Map([...limits].map(([name, limit]) => [name === ALL_OTHERS ? name : upstreams.find(name).base.host, limit]))
}
