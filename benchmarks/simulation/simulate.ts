import { chooseNeighbours } from '../../src/discovery/neighbourhood.ts'
import { firstTwo } from '../../src/rendezvous/order.ts'
import { DIGEST } from './line.ts'
import { MIRRORED } from './mirrored.ts'
import { Peer } from './peer.ts'
import type { Scenario } from './scenario.ts'
import { seeded } from './seeded.ts'
import { ARRIVED, CALL, HEARD, HELD, PUMP, READY, REQUESTED, TELL, TICK, TOLD, World } from './world.ts'

const { MAX_MEMBERS } = MIRRORED

/** Turns of the real event loop are given to whoever else wants one so often. */
const EVENTS_PER_TURN = 50_000

/** Runs one crowd to its end. @throws the signal's reason */
export async function simulate(scenario: Scenario, { signal }: { signal?: AbortSignal } = {}): Promise<World> {
  const world = new World(scenario)
  populate(world)
  acquaint(world)
  begin(world)
  let events = 0
  while (world.unfinished > 0) {
    const next = Math.min(world.queue.nextTime, world.network.nextTime)
    if (next > scenario.longestMs) break
    world.now = next
    if (world.network.nextTime <= next) world.network.finish(next)
    else step(world)
    if (++events % EVENTS_PER_TURN === 0) {
      world.stirred = true
      signal?.throwIfAborted()
    }
    if (world.stirred) {
      world.stirred = false
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  return world
}

function step(world: World): void {
  const { queue, peers, edges } = world
  queue.take()
  const { a, b } = queue
  switch (queue.kind) {
    case CALL:
      world.call(a)
      return
    case PUMP:
      peers[a]?.downloading.pump()
      return
    case TICK:
      peers[a]?.downloading.tick()
      return
    case REQUESTED:
      edges[a]?.requested()
      return
    case READY:
      edges[a]?.ready()
      return
    case ARRIVED: {
      const edge = edges[a]
      if (edge !== undefined) edge.owner.downloading.arrived(edge)
      return
    }
    case HELD:
      peers[a]?.downloading.landed(b)
      return
    case TELL:
      peers[a]?.holdings.tell()
      return
    case TOLD:
      peers[a]?.holdings.heard(b)
      return
    case HEARD: {
      const edge = edges[a]
      if (edge !== undefined) edge.peer.holdings.hear(edge, b)
    }
  }
}

function populate(world: World): void {
  const { hosts, seed, zones } = world.scenario
  const refs = Array.from({ length: hosts }, (_, i) => ({
    id: `12D3KooW${(seeded(seed * 1_000_003 + i)() * 2 ** 32).toString(36).padStart(8, '0')}${i.toString().padStart(8, '0')}`,
    addresses: ['/ip4/10.0.0.1/tcp/7402'],
  }))
  for (const [i, ref] of refs.entries()) {
    const peer = new Peer(world, ref, viewOf(i, refs, zones, seeded(seed + i)))
    world.peers.push(peer)
    world.byId.set(ref.id, peer)
  }
  world.unfinished = hosts
}

/** The members of its zone that a host knows: of a very large one not all. */
function viewOf<T>(self: number, all: readonly T[], zones: number, random: () => number): readonly T[] {
  const own = self % zones
  const size = Math.floor((all.length - own + zones - 1) / zones)
  if (size <= MAX_MEMBERS + 1) return all.filter((_, i) => i !== self && i % zones === own)
  const view: T[] = []
  const seen = new Set([self])
  while (view.length < MAX_MEMBERS) {
    const i = own + zones * Math.floor(random() * size)
    if (seen.has(i)) continue
    seen.add(i)
    view.push(all[i] as T)
  }
  return view
}

/** The zone has lived for a while: everybody is connected with the neighbours that it chose. */
function acquaint(world: World): void {
  for (const peer of world.peers) {
    for (const { id } of chooseNeighbours(peer.view, `${world.random()}`)) {
      const other = world.byId.get(id) as Peer
      peer.connected.add(other.index)
      other.connected.add(peer.index)
    }
  }
}

function begin(world: World): void {
  const { spreadMs, everyMs, deaths, originDiesMs } = world.scenario
  const ids = world.peers.map(({ id }) => id)
  for (const peer of world.peers) {
    world.at(everyMs > 0 ? peer.index * everyMs : world.random() * spreadMs, () => peer.start())
  }
  const [rendezvous, standby] = firstTwo(DIGEST, ids)
  for (const { atMs, atShare, host } of deaths) {
    const id = host === 'rendezvous' ? rendezvous : host === 'standby' ? standby : ids[host]
    const peer = world.byId.get(id ?? '')
    if (peer === undefined) continue
    if (atShare !== undefined) world.atShare(atShare, () => peer.die())
    else world.at(atMs ?? 0, () => peer.die())
  }
  if (Number.isFinite(originDiesMs)) world.at(originDiesMs, () => world.stopOrigin())
}
