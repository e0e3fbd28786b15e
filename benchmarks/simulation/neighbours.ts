import type { Seated } from '../../src/download/usefulness.ts'
import { rank } from '../../src/rank/rank.ts'
import { sample } from '../../src/sample.ts'
import { Bench } from '../../src/transfer/bench.ts'
import { Dismissed } from '../../src/transfer/dismissed.ts'
import { displacedBy } from '../../src/transfer/displaced.ts'
import { DEFAULT_LIMITS } from '../../src/transfer/limits.ts'
import { COSTS } from './costs.ts'
import { Edge } from './edge.ts'
import { MIRRORED } from './mirrored.ts'
import type { Peer } from './peer.ts'
import type { World } from './world.ts'

const { MAX_MEMBERS_OFFERED } = MIRRORED

const { maxNeighbours } = DEFAULT_LIMITS
/** All hosts are of one. */
const NETWORK = '10.0.0.0/16'
const HERE = { region: 'r', zone: 'z', rack: undefined }

/** Whom one host asks for pieces of the blob: as src/transfer/swarm.ts and src/download/search.ts. */
export class Neighbours {
  readonly #self: Peer
  readonly #world: World
  readonly #edges = new Map<number, Edge>()
  #list: readonly Edge[] | undefined
  readonly #bench: Bench
  readonly #dismissed = new Dismissed()

  constructor(self: Peer, world: World) {
    this.#self = self
    this.#world = world
    this.#bench = new Bench(world.random)
  }

  get list(): readonly Edge[] {
    this.#list ??= [...this.#edges.values()]
    return this.#list
  }

  get(peer: Peer): Edge | undefined {
    return this.#edges.get(peer.index)
  }

  /** Begins with those that discovery names. */
  start(view: Iterable<Peer>): void {
    const near: Peer[] = []
    const far: Peer[] = []
    for (const peer of view) (this.#self.connected.has(peer.index) ? near : far).push(peer)
    const { random } = this.#world
    const offered = [...sample(near, MAX_MEMBERS_OFFERED, random), ...sample(far, MAX_MEMBERS_OFFERED, random)]
    const candidates = offered
      .slice(0, MAX_MEMBERS_OFFERED)
      .map((peer) => ({ peer, label: HERE, bytesPerSecond: undefined, load: 0 }))
    for (const { peer } of rank(candidates, HERE)) this.meet(peer)
  }

  meet(peer: Peer): void {
    if (!this.#self.active || peer === this.#self) return
    const known = this.#edges.get(peer.index)
    if (known !== undefined && known.state !== 'failed') return
    if (known !== undefined || this.#edges.size < maxNeighbours || this.#makeRoom(peer)) {
      this.#bench.delete(peer.id)
      this.#takeIn(peer)
    } else if (!this.#dismissed.has(peer.id, this.#world.now)) this.#bench.add(peer.ref, NETWORK)
  }

  /** Members that are known and have no place. */
  get waiting(): number {
    return this.#bench.size
  }

  /** Gives the places of some to others who wait. */
  exchange(peerIds: readonly string[]): void {
    for (const peerId of peerIds) {
      const edge = this.get(this.#world.peer(peerId))
      if (edge === undefined || this.#bench.size === 0) continue
      this.#world.count('exchange')
      this.#leave(edge)
      this.#dismissed.add(peerId, this.#world.now)
      while (this.#edges.size < maxNeighbours) {
        const next = this.#bench.draw(() => 0)
        if (next === undefined) break
        this.#takeIn(this.#world.peer(next.id))
      }
    }
  }

  /** All, and what their use may be. */
  seated(now: number): Seated[] {
    return this.list.map((edge) => ({
      peerId: edge.peerId,
      state: edge.state,
      have: edge.useful ? edge.heard.toBitfield() : undefined,
      silent: edge.isStalled(now),
    }))
  }

  #takeIn(peer: Peer): void {
    const world = this.#world
    const edge = new Edge(world.edges.length, this.#self, peer, world)
    world.edges.push(edge)
    this.#edges.set(peer.index, edge)
    this.#list = undefined
    world.connect(this.#self, peer, (connected) => {
      if (edge.dropped || !this.#self.active) return
      if (connected) this.#want(edge)
      else this.lost(edge)
    })
  }

  /** It is gone. */
  lost(edge: Edge): void {
    this.#self.downloading.forget(edge)
    edge.state = 'failed'
    edge.drop()
    this.#self.downloading.wake()
  }

  /** Wants nothing more of any. */
  leaveAll(): void {
    for (const edge of this.list) this.#leave(edge)
  }

  /** This host is gone: they notice. */
  vanish(): void {
    for (const edge of this.#edges.values()) {
      edge.drop()
      edge.peer.holdings.subscribers.delete(edge)
    }
  }

  #leave(edge: Edge): void {
    this.#self.downloading.forget(edge)
    this.#edges.delete(edge.peer.index)
    this.#list = undefined
    edge.drop()
    if (!edge.peer.holdings.subscribers.delete(edge)) return
    this.#world.count('unwant')
    this.#world.cpu.work(this.#self.index, COSTS.send, this.#world.now)
  }

  #want(edge: Edge): void {
    const world = this.#world
    edge.state = 'asked'
    edge.since = world.now
    world.count('want')
    const left = world.cpu.work(this.#self.index, COSTS.send, world.now)
    world.at(left + world.messageMs(this.#self, edge.peer), () => {
      if (!edge.dropped && edge.peer.alive) this.#wanted(edge)
    })
  }

  /** At the other end: who wants what it wants is a neighbour too, and is told what it holds. */
  #wanted(edge: Edge): void {
    const world = this.#world
    const { peer } = edge
    peer.holdings.subscribers.add(edge)
    peer.neighbours.meet(this.#self)
    world.count('state')
    const { count } = peer.holdings.held
    const answered = world.cpu.work(peer.index, COSTS.receive + COSTS.send, world.now)
    world.at(edge.newsAt(answered), () => {
      if (edge.dropped || !this.#self.active) return
      world.cpu.work(this.#self.index, COSTS.receive, world.now)
      edge.pace.delayed(world.now - edge.since, world.now)
      edge.load = peer.uplink.load
      this.#self.downloading.hearState(edge, Math.max(count, peer.holdings.told))
    })
  }

  #makeRoom(peer: Peer): boolean {
    const { now } = this.#world
    const useless = this.#any('failed') ?? (this.#dismissed.has(peer.id, now) ? undefined : this.#displaced(now))
    if (useless === undefined) return false
    this.#leave(useless)
    if (useless.state !== 'failed') this.#bench.add(useless.peer.ref, NETWORK)
    return true
  }

  /** Who gives way to a newcomer. */
  #displaced(now: number): Edge | undefined {
    // where nobody holds nothing, nobody has to go
    if (this.#any('none') === undefined) return undefined
    const members = this.list.map((edge) => ({
      edge,
      state: edge.state,
      since: edge.takenInAt,
      network: NETWORK,
      have: undefined,
    }))
    return displacedBy(NETWORK, members, { maxNeighbours, now })?.edge
  }

  #any(state: Edge['state']): Edge | undefined {
    return this.list.find((edge) => edge.state === state)
  }
}
