import { lookup } from 'node:dns'
import type { OriginPause } from '../../protocols/beacon/codec.ts'
import type { RateLimit } from '../rate-limit.ts'
import type { Log } from '../telemetry/log.ts'
import { VERSION } from '../version.ts'
import { isPublicAddress, type Resolver } from './address.ts'
import { CoolDowns } from './cool-down.ts'
import { HostLimits } from './host-limits.ts'
import { HttpClient } from './http.ts'
import { HttpOrigin } from './http-origin.ts'
import { ORIGIN_DEFAULTS, type OriginTimeouts } from './limits.ts'
import type { ZoneOrigin } from './origin.ts'
import { RegistryClient } from './registry.ts'

export interface OriginOptions {
  /**
   * Where registries are that are not simply at `https://NAME`; what is named here may be on a private address, and credentials
   * in a URL (`https://user:password@host`) are the operator's own, used before those of clients.
   */
  readonly upstreams: ReadonlyMap<string, URL>
  readonly log: Log
  readonly timeouts?: Partial<OriginTimeouts>
  /** Requests at a time by the name of a registry or host, `*` for each of all others: for blobs, and as many for everything else. */
  readonly requests?: ReadonlyMap<string, number>
  /** Bytes a second in the same way. */
  readonly rate?: ReadonlyMap<string, number | undefined>
  /** What may come from peers and origins together. */
  readonly download?: RateLimit | undefined
  /** Told of an origin that wants to be left alone, for the zone to know. */
  readonly onPause?: (pause: OriginPause) => void
  /** What this node calls itself in the `Via` of its requests: a mirror that sees its own name knows of a loop. */
  readonly via?: string
  /** How names are looked up: the system's way by default. */
  readonly lookup?: Resolver['lookup']
}

const NO_LIMITS: ReadonlyMap<string, number> = new Map()

/** Registries and HTTP(S) servers as an Origin. Closing it cuts what is under way. */
export async function openOrigin(options: OriginOptions): Promise<ZoneOrigin> {
  const { upstreams, log, requests = NO_LIMITS, rate = NO_LIMITS, download, onPause = () => {} } = options
  const resolver: Resolver = { lookup: options.lookup ?? lookup, isPublic: isPublicAddress }
  const timeouts = { ...ORIGIN_DEFAULTS, ...options.timeouts }
  const limits = new HostLimits({ requests, rate, upstreams, download, defaultRequests: ORIGIN_DEFAULTS.requestsPerHost })
  const http = new HttpClient({ ...timeouts, limits, resolver, userAgent: `shoal/${VERSION}`, via: options.via })
  const tokenTimeoutMs = timeouts.headerTimeoutMs + timeouts.connectTimeoutMs
  const coolDowns = new CoolDowns({ now: () => performance.now(), random: Math.random, onPause })
  const registries = new RegistryClient({ http, coolDowns, resolver, tokenTimeoutMs, upstreams, log })
  return new HttpOrigin({ http, registries, coolDowns, log })
}
