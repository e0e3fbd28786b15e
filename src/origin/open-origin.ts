import { lookup } from 'node:dns'
import type { Log } from '../telemetry/log.ts'
import { VERSION } from '../version.ts'
import { isPublicAddress, type Resolver } from './address.ts'
import { HttpClient } from './http.ts'
import { HttpOrigin } from './http-origin.ts'
import { ORIGIN_DEFAULTS, type OriginTimeouts } from './limits.ts'
import type { Origin } from './origin.ts'
import { RegistryClient } from './registry.ts'

export interface OriginOptions {
  /**
   * Where registries are that are not simply at `https://NAME`; what is named here may be on a private address, and credentials
   * in a URL (`https://user:password@host`) are the operator's own, used before those of clients.
   */
  readonly upstreams: ReadonlyMap<string, URL>
  readonly log: Log
  readonly timeouts?: Partial<OriginTimeouts>
  /** What this node calls itself in the `Via` of its requests: a mirror that sees its own name knows of a loop. */
  readonly via?: string
  /** How names are looked up: the system's way by default. */
  readonly lookup?: Resolver['lookup']
}

/** Registries and HTTP(S) servers as an Origin. Closing it cuts what is under way. */
export async function openOrigin(options: OriginOptions): Promise<Origin> {
  const resolver: Resolver = { lookup: options.lookup ?? lookup, isPublic: isPublicAddress }
  const limits = { ...ORIGIN_DEFAULTS, ...options.timeouts }
  const http = new HttpClient({ ...limits, resolver, userAgent: `shoal/${VERSION}`, via: options.via })
  const tokenTimeoutMs = limits.headerTimeoutMs + limits.connectTimeoutMs
  const registries = new RegistryClient({ http, resolver, tokenTimeoutMs, upstreams: options.upstreams, log: options.log })
  return new HttpOrigin({ http, registries, log: options.log })
}
