/** Nodes on a network in memory and on a clock that the test turns. */
import type { TestContext } from 'node:test'
import type { OriginPause } from '../../protocols/beacon/codec.ts'
import { type Digest, digestOf } from '../../protocols/digest.ts'
import { parseZone } from '../../protocols/zone.ts'
import type { Candidate, Discovery } from '../../src/discovery/discovery.ts'
import { openDiscovery, type ZoneDiscovery } from '../../src/discovery/mesh.ts'
import type { Host } from '../../src/net/host.ts'
import { createMemoryNetwork, type MemoryNetwork } from '../../src/net/memory.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { seeded, VirtualClock } from './virtual-clock.ts'

export const live = () => ({ signal: new AbortController().signal })

export function blob(name: string | number): Digest {
  return digestOf(Buffer.from(`blob ${name}`))
}

export async function* each<T>(items: Iterable<T>): AsyncIterable<T> {
  yield* items
}

export interface JoinOptions {
  readonly id?: string
  readonly topics?: boolean
  readonly routing?: boolean
  readonly zone?: string
  readonly held?: Iterable<Digest>
  readonly startedAt?: number
  readonly roles?: readonly string[]
  readonly host?: Host
}

export interface Joined {
  readonly host: Host
  readonly discovery: ZoneDiscovery
  /** What it heard of origins that want to be left alone. */
  readonly pauses: readonly (readonly [author: string, pause: OriginPause])[]
}

export class Meadow {
  readonly network: MemoryNetwork = createMemoryNetwork()
  readonly clock = new VirtualClock()
  readonly #t: TestContext
  #made = 0

  constructor(t: TestContext) {
    this.#t = t
  }

  host(options: JoinOptions = {}): Host {
    const { id, topics = true, routing = true } = options
    const host = this.network.host({ ...(id === undefined ? {} : { id }), topics, routing })
    this.#t.after(() => host[Symbol.asyncDispose]())
    return host
  }

  async join(options: JoinOptions = {}): Promise<Joined> {
    const host = options.host ?? this.host(options)
    const pauses: [author: string, pause: OriginPause][] = []
    const discovery = await openDiscovery({
      host,
      onPause: (author, pause) => pauses.push([author, pause]),
      label: parseZone(options.zone ?? 'eu/a'),
      roles: options.roles ?? [],
      version: '0.0.0-test',
      load: () => 0,
      heldDigests: () => each(options.held ?? []),
      log: SILENT,
      clock: this.clock,
      knownHolderMs: 0,
      random: seeded(++this.#made),
      startedAt: options.startedAt ?? 1_000,
    })
    this.#t.after(() => discovery[Symbol.asyncDispose]())
    return { host, discovery, pauses }
  }
}

export async function connect(a: Host, b: Host): Promise<void> {
  await a.connect({ id: b.peerId, addresses: b.addresses() }, live())
}

export async function collect(discovery: Discovery, digest: Digest, options = live()): Promise<Candidate[]> {
  const found: Candidate[] = []
  for await (const candidate of discovery.find(digest, options)) found.push(candidate)
  return found
}

/** Ids of those that are said to hold the whole. */
export async function holdersOf(discovery: Discovery, digest: Digest): Promise<string[]> {
  const found = await collect(discovery, digest)
  return found.filter(({ reason }) => reason === 'holder').map(({ peer }) => peer.id)
}
