import type { Host, PeerRef, TopicMessage, Verdict } from './host.ts'
import { createIdentity } from './identity.ts'
import { MemoryHost } from './memory-host.ts'

export interface MemoryNetworkOptions {
  /** Bytes one direction of a stream holds before its writer waits. */
  readonly bufferBytes?: number
  /** Largest chunk a reader is given. */
  readonly chunkBytes?: number
}

export interface MemoryHostOptions {
  /** Names the identity: the same name gives the same peer id. Without one, a random identity. */
  readonly id?: string
  readonly topics?: boolean
  readonly routing?: boolean
}

/** Hosts in one process, with real keys, real back-pressure, and cables that a test may pull. */
export interface MemoryNetwork {
  /** A running host; topics and routing are on unless told otherwise. */
  host(options?: MemoryHostOptions): Host
  /** Drops the connection between two hosts, if there is one. They may connect again. */
  cut(a: string | Host, b: string | Host): void
  /** Drops every connection between two groups, and lets nothing pass between them until `heal`. */
  partition(some: readonly (string | Host)[], others: readonly (string | Host)[]): void
  heal(): void
  /** Adds a provider that does not exist, or not any more, as stale DHT records do. */
  addProvider(cid: string, provider: PeerRef): void
}

export interface Subscription {
  validate(message: TopicMessage): Verdict
  deliver(message: TopicMessage): void
}

/** What the hosts of one network share. */
export interface MemoryWorld {
  readonly bufferBytes: number
  readonly chunkBytes: number
  readonly hosts: Map<string, MemoryHost>
  /** By CID text, then peer id. A host that closes leaves its records behind, as in a DHT. */
  readonly providers: Map<string, Map<string, PeerRef>>
  /** Whether a cable lies between the two. */
  reachable(a: string, b: string): boolean
}

const DEFAULTS = Object.freeze({ bufferBytes: 256 << 10, chunkBytes: 64 << 10 })

export function createMemoryNetwork(options: MemoryNetworkOptions = {}): MemoryNetwork {
  const walls: [Set<string>, Set<string>][] = []
  let made = 0
  const world: MemoryWorld = {
    ...DEFAULTS,
    ...options,
    hosts: new Map(),
    providers: new Map(),
    reachable: (a, b) => !walls.some(([some, others]) => (some.has(a) && others.has(b)) || (some.has(b) && others.has(a))),
  }
  const cut = (a: string, b: string) => world.hosts.get(a)?.drop(b)

  return {
    host: (options = {}) => {
      const identity = createIdentity(options.id)
      const address = `/ip4/10.${(made >> 16) & 255}.${(made >> 8) & 255}.${made++ & 255}/tcp/7402`
      return new MemoryHost(world, identity, { address, topics: options.topics ?? true, routing: options.routing ?? true })
    },
    cut: (a, b) => cut(idOf(a), idOf(b)),
    partition: (some, others) => {
      walls.push([new Set(some.map(idOf)), new Set(others.map(idOf))])
      for (const a of some) for (const b of others) cut(idOf(a), idOf(b))
    },
    heal: () => {
      walls.length = 0
    },
    addProvider: (cid, provider) => {
      const known = world.providers.get(cid) ?? new Map<string, PeerRef>()
      world.providers.set(cid, known.set(provider.id, provider))
    },
  }
}

function idOf(host: string | Host): string {
  return typeof host === 'string' ? host : host.peerId
}
