import { setImmediate as turn } from 'node:timers/promises'
import type { Digest } from '../../protocols/digest.ts'
import { MAX_DESKS } from '../../protocols/rendezvous/limits.ts'
import type { Host, PeerRef } from '../../src/net/host.ts'
import { createMemoryNetwork, type MemoryNetwork } from '../../src/net/memory.ts'
import { TABLE_BOUNDS } from '../../src/rendezvous/lease-table.ts'
import { openRendezvous } from '../../src/rendezvous/open-rendezvous.ts'
import { firstInOrder, rendezvousOrder } from '../../src/rendezvous/order.ts'
import type { Grant, Membership, Rendezvous } from '../../src/rendezvous/rendezvous.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { seeded, VirtualClock } from '../discovery/virtual-clock.ts'

export const NEVER = new AbortController().signal
/** As many import at a time as may, from the start. */
export const AT_ONCE = Object.freeze({ ...TABLE_BOUNDS, firstLive: 64 })

export interface ZoneNode {
  readonly host: Host
  readonly ref: PeerRef
  readonly rendezvous: Rendezvous
  /** Whom it believes to be in its zone, itself included. */
  view: readonly PeerRef[]
  /** Whom it believes to have lied about what they import. */
  readonly caught: Set<string>
}

/** Nodes of one zone on a network in memory, in a time that the test passes. */
export interface Zone {
  readonly clock: VirtualClock
  readonly network: MemoryNetwork
  readonly nodes: readonly ZoneNode[]
  /** The nodes in the order in which they are the rendezvous of a blob. */
  inOrder(digest: Digest, desk?: number): ZoneNode[]
  /** Ends a node at once, as kill -9 does. */
  kill(node: ZoneNode): Promise<void>
  /** Nothing passes to or from it, and nobody is told. */
  freeze(node: ZoneNode): void
}

export async function withZone(count: number, run: (zone: Zone) => Promise<void>, seed = 1): Promise<void> {
  const clock = new VirtualClock()
  const network = createMemoryNetwork()
  const nodes: ZoneNode[] = []
  const frozen = new Set<string>()
  for (let i = 0; i < count; i++) {
    const host = muted(network.host({ id: `zone ${seed} ${i}` }), frozen)
    const ref = { id: host.peerId, addresses: host.addresses() }
    const members = () => node.view.filter(({ id }) => id !== ref.id)
    const rendezvous = await openRendezvous({
      host,
      members,
      caught: () => node.caught,
      log: SILENT,
      bounds: AT_ONCE,
      clock,
      random: seeded(seed * 1000 + i),
    })
    const node: ZoneNode = { host, ref, rendezvous, view: [], caught: new Set() }
    nodes.push(node)
  }
  for (const node of nodes) node.view = nodes.map((other) => other.ref)
  const zone: Zone = {
    clock,
    network,
    nodes,
    inOrder: (digest, desk) => {
      const ids = nodes.map((node) => node.ref.id)
      return rendezvousOrder(digest, ids, desk).map((id) => nodes.find((node) => node.ref.id === id) as ZoneNode)
    },
    kill: async (node) => {
      await node.host[Symbol.asyncDispose]()
      await turn()
    },
    freeze: (node) => {
      frozen.add(node.ref.id)
    },
  }
  try {
    await run(zone)
  } finally {
    for (const node of nodes) await node.rendezvous[Symbol.asyncDispose]()
    for (const node of nodes) await node.host[Symbol.asyncDispose]()
  }
}

/** A host whose streams carry nothing any more once its id is in `frozen`: alive, and silent. */
function muted(host: Host, frozen: ReadonlySet<string>): Host {
  const original = host.handle.bind(host)
  host.handle = async (protocol, limits, serve) => {
    await original(protocol, limits, (channel) =>
      serve({
        peerId: channel.peerId,
        protocol: channel.protocol,
        closed: channel.closed,
        unacknowledgedBytes: channel.unacknowledgedBytes,
        acknowledge: () => channel.acknowledge(),
        close: () => channel.close(),
        abort: (reason: Error) => channel.abort(reason),
        write: (parts: readonly Uint8Array[]) => (frozen.has(host.peerId) ? new Promise<void>(() => {}) : channel.write(parts)),
        read: (sink: (chunk: Uint8Array) => void | Promise<void>) =>
          channel.read((chunk) => (frozen.has(host.peerId) ? undefined : sink(chunk))),
      }),
    )
  }
  return host
}

/** So many peers that nobody runs, to make a view large: at no desk of the blob is one of them among the first three. */
export function strangers(digest: Digest, nodes: readonly ZoneNode[], count: number): PeerRef[] {
  const ids = nodes.map(({ ref }) => ref.id)
  const made: PeerRef[] = []
  for (let i = 0; made.length < count; i++) {
    const id = `stranger ${i}`
    const forward = range(0, MAX_DESKS - 1).some((desk) => firstInOrder(digest, [...ids, id], 3, desk).includes(id))
    if (!forward) made.push({ id, addresses: [] })
  }
  return made
}

/** The outcome of an `ask` that needs time to pass. */
export async function ask(
  zone: Zone,
  member: Membership,
  orphans: readonly number[],
  size: number | undefined,
): Promise<{ grant: Grant | undefined; tookMs: number }> {
  const started = zone.clock.now()
  let outcome: { grant: Grant | undefined } | undefined
  let failure: unknown
  member.ask(orphans, size, { signal: NEVER }).then(
    (grant) => {
      outcome = { grant }
    },
    (error: unknown) => {
      failure = error
    },
  )
  await settle()
  while (outcome === undefined && failure === undefined) {
    if (zone.clock.now() - started > 10_000) throw new Error('no answer in ten seconds')
    await zone.clock.advance(5)
  }
  if (outcome === undefined) throw failure
  return { grant: outcome.grant, tookMs: zone.clock.now() - started }
}

/** Lets everything that needs no time run to its end. */
export async function settle(turns = 20): Promise<void> {
  for (let i = 0; i < turns; i++) await turn()
}

export const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i)
