import { Bitfield } from '../../protocols/bitfield.ts'
import type { PeerRef } from '../../src/net/host.ts'
import { rank } from '../../src/rank/rank.ts'
import { BlobMember } from '../../src/rendezvous/blob-member.ts'
import { type Line, OwnLine } from '../../src/rendezvous/line.ts'
import { Office } from '../../src/rendezvous/office.ts'
import { OrderCache } from '../../src/rendezvous/order-cache.ts'
import { sample } from '../../src/sample.ts'
import { DEFAULT_LIMITS } from '../../src/transfer/limits.ts'
import { loadOf } from '../../src/transfer/load.ts'
import { COSTS } from './costs.ts'
import { Downloading } from './downloading.ts'
import { Edge } from './edge.ts'
import { Importing } from './importing.ts'
import { DIGEST, SimulatedLine } from './post.ts'
import { TELL, TOLD, type World } from './world.ts'

/** As src/discovery/mesh.ts: members offered for one blob. */
const MAX_MEMBERS_OFFERED = 32
/** As src/transfer/subscriptions.ts. */
const MS_PER_SUBSCRIBER = 10
const HERE = { region: 'r', zone: 'z', rack: undefined }

/** One host: whom it knows and is connected with, what it holds, whom it tells of it, and whom it asks. */
export class Peer {
  readonly index: number
  readonly id: string
  readonly ref: PeerRef
  readonly connected = new Set<number>()
  readonly connecting = new Map<number, ((connected: boolean) => void)[]>()
  readonly edges = new Map<number, Edge>()
  readonly subscribers = new Set<Edge>()
  /** What it holds, and what its neighbours have been told of that. */
  readonly held: Bitfield
  readonly told: Bitfield
  readonly downloading: Downloading
  readonly importing: Importing
  readonly #world: World
  readonly view: readonly PeerRef[]
  readonly #order: OrderCache
  readonly #heldInOrder: Uint16Array
  readonly #lines = new Map<number, SimulatedLine>()
  readonly #own: OwnLine
  readonly office: Office
  #telling = false
  #slotQueue: Edge[] = []
  #uploading = 0
  member: BlobMember | undefined
  introduced = false
  alive = true
  startedAt = Number.NaN
  finishedAt = Number.NaN
  queuedBytes = 0
  saidLoad = 0

  /** @param view the members of the zone that it knows, without itself */
  constructor(world: World, ref: PeerRef, view: readonly PeerRef[]) {
    this.index = world.peers.length
    this.id = ref.id
    this.ref = ref
    this.#world = world
    this.view = view
    const { pieces } = world.geometry
    this.held = new Bitfield(pieces)
    this.told = new Bitfield(pieces)
    this.#heldInOrder = new Uint16Array(pieces)
    const { clock, random } = world
    this.#order = new OrderCache({ self: this.id, members: () => view, clock })
    this.office = new Office({ clock, random, redirect: () => this.#better() })
    this.#own = new OwnLine(this.id, this.office, clock)
    this.downloading = new Downloading(this, world)
    this.importing = new Importing(this, world)
  }

  get finished(): boolean {
    return !Number.isNaN(this.finishedAt)
  }

  get active(): boolean {
    return this.alive && !Number.isNaN(this.startedAt) && !this.finished
  }

  /** Its client asks for the blob. */
  start(): void {
    if (!this.alive) return
    const world = this.#world
    this.startedAt = world.now
    world.stirred = true
    const { clock, random } = world
    this.member = new BlobMember(DIGEST, undefined, {
      clock,
      random,
      self: this.ref,
      members: () => this.view,
      isReachable: (id) => id === this.id || this.#lines.get(this.#indexOf(id))?.failing !== true,
      lineTo: (id) => this.#lineTo(id),
      onClose: () => {},
    })
    this.member.onMember((peer) => this.meet(this.#indexOf(peer.id)))
    this.member.onChange(() => this.importing.called())
    void this.member.introduced.then(() => {
      this.introduced = true
    })
    for (const index of this.#candidates()) this.meet(index)
    this.downloading.start()
  }

  /** Takes another into its swarm, as `LinkedSwarm.add` does. */
  meet(index: number): void {
    if (!this.active || index === this.index) return
    const known = this.edges.get(index)
    if (known !== undefined && known.state !== 'failed') return
    if (known === undefined && this.edges.size >= DEFAULT_LIMITS.maxNeighbours && !this.#makeRoom()) return
    const world = this.#world
    const to = world.peers[index] as Peer
    const edge = new Edge(world.edges.length, this, to, world)
    world.edges.push(edge)
    this.edges.set(index, edge)
    world.connect(this, to, (connected) => {
      if (edge.dropped || !this.active) return
      if (connected) this.#want(edge)
      else this.downloading.lost(edge)
    })
  }

  /** It has come to hold a piece. */
  hold(index: number): void {
    this.#heldInOrder[this.held.count] = index
    this.held.add(index)
    if (this.#telling || this.subscribers.size === 0) return
    this.#telling = true
    const { haveMs, maxHaveMs } = DEFAULT_LIMITS
    const gatheringMs = Math.min(maxHaveMs, Math.max(haveMs, MS_PER_SUBSCRIBER * this.subscribers.size))
    this.#world.queue.put(this.#world.now + gatheringMs, TELL, this.index, 0)
  }

  /** What was gathered leaves for all who want to know. */
  tell(): void {
    this.#telling = false
    if (!this.alive) return
    const world = this.#world
    let size = 0
    for (const edge of this.subscribers) if (!this.#needless(edge.owner)) size++
    world.count('have', size)
    const left = world.cpu.work(this.index, COSTS.send * size, world.now)
    world.queue.put(left + world.scenario.latencyMs, TOLD, this.index, this.held.count)
  }

  /** Who holds these pieces, as far as we know, will not ask for them. */
  #needless(other: Peer, before = this.told.count, count = this.held.count): boolean {
    if (this.edges.get(other.index)?.useful !== true) return false
    for (let i = before; i < count; i++) if (!other.told.has(this.#heldInOrder[i] as number)) return false
    return true
  }

  /** The first so many pieces that it came to hold are known to them now. */
  heard(count: number): void {
    const before = this.told.count
    for (let i = before; i < count; i++) this.told.add(this.#heldInOrder[i] as number)
    this.saidLoad = loadOf(this.queuedBytes)
    const { cpu, now } = this.#world
    for (const edge of this.subscribers) {
      const { owner } = edge
      if (this.#needless(owner, before, count)) {
        for (let i = before; i < count; i++) owner.downloading.covered(this.#heldInOrder[i] as number)
        continue
      }
      cpu.work(owner.index, COSTS.receive, now)
      if (edge.state === 'connecting' || edge.state === 'asked') continue
      edge.load = this.saidLoad
      owner.downloading.hear(edge, this.#heldInOrder, before, this.told.count)
    }
  }

  /** What it holds by now is told to whoever asks anew. */
  catchUp(): void {
    if (this.subscribers.size === 0 && !this.#telling) for (let i = this.told.count; i < this.held.count; i++) this.told.add(this.#heldInOrder[i] as number)
  }

  finish(): void {
    const world = this.#world
    this.finishedAt = world.now
    world.unfinished--
    world.stirred = true
    this.member?.complete()
    world.count('have', this.subscribers.size)
    world.cpu.work(this.index, COSTS.send * this.subscribers.size, world.now)
    for (const edge of [...this.edges.values()]) this.leave(edge)
  }

  /** Wants nothing more of it. */
  leave(edge: Edge): void {
    const world = this.#world
    this.downloading.forget(edge)
    this.edges.delete(edge.peer.index)
    edge.drop()
    if (!edge.subscribed) return
    world.count('unwant')
    edge.peer.subscribers.delete(edge)
  }

  /** It is gone, with all that it holds. */
  die(): void {
    if (!this.alive) return
    const world = this.#world
    if (!this.finished) world.unfinished--
    this.alive = false
    for (const edge of this.edges.values()) {
      edge.drop()
      edge.peer.subscribers.delete(edge)
    }
    this.importing.stop()
    for (const line of this.#lines.values()) line.leave()
    const { latencyMs } = world.scenario
    const asking = [...world.peers].filter((peer) => peer.edges.has(this.index))
    for (const peer of world.peers) {
      peer.connected.delete(this.index)
      const line = peer.#lines.get(this.index)
      if (line !== undefined && peer.alive)
        world.clock.after(latencyMs, () => line.down(new Error('gone')))
    }
    for (const peer of asking)
      world.after(latencyMs, () => {
        const edge = peer.edges.get(this.index)
        if (edge !== undefined && peer.active) peer.downloading.lost(edge)
      })
  }

  get othersWait(): boolean {
    return this.#slotQueue.length > 0
  }

  /** @returns whether it may send now; otherwise it is called when it may */
  takeSlot(edge: Edge): boolean {
    if (this.#uploading < DEFAULT_LIMITS.slots) {
      this.#uploading++
      return true
    }
    this.#slotQueue.push(edge)
    return false
  }

  giveSlot(): void {
    this.#uploading--
    while (this.#uploading < DEFAULT_LIMITS.slots) {
      const next = this.#slotQueue.shift()
      if (next === undefined) return
      next.ready()
    }
  }

  #want(edge: Edge): void {
    const world = this.#world
    const { latencyMs } = world.scenario
    edge.state = 'asked'
    edge.since = world.now
    world.count('want')
    const left = world.cpu.work(this.index, COSTS.send, world.now)
    world.at(left + latencyMs, () => {
      const { peer } = edge
      if (edge.dropped || !peer.alive) return
      peer.subscribers.add(edge)
      edge.subscribed = true
      peer.meet(this.index)
      world.count('state')
      const answered = world.cpu.work(peer.index, COSTS.receive + COSTS.send, world.now)
      world.at(answered + latencyMs, () => {
        if (edge.dropped || !this.active) return
        world.cpu.work(this.index, COSTS.receive, world.now)
        peer.catchUp()
        edge.load = peer.saidLoad
        this.downloading.hearState(edge)
      })
    })
  }

  #makeRoom(): boolean {
    let useless: Edge | undefined
    for (const edge of this.edges.values()) {
      if (edge.state === 'failed') {
        useless = edge
        break
      }
      if (edge.state === 'none') useless ??= edge
    }
    if (useless === undefined) return false
    this.leave(useless)
    return true
  }

  /** As src/discovery/mesh.ts gives them and src/download/search.ts takes them. */
  #candidates(): number[] {
    const near: number[] = []
    const far: number[] = []
    for (const { id } of this.view) {
      const index = this.#indexOf(id)
      if (this.connected.has(index)) near.push(index)
      else far.push(index)
    }
    const { random } = this.#world
    const offered = [...sample(near, MAX_MEMBERS_OFFERED, random), ...sample(far, MAX_MEMBERS_OFFERED, random)]
    const candidates = offered
      .slice(0, MAX_MEMBERS_OFFERED)
      .map((index) => ({ index, label: HERE, bytesPerSecond: undefined, load: 0 }))
    return rank(candidates, HERE).map(({ index }) => index)
  }

  #better(): PeerRef | undefined {
    const two = this.#order.firstTwo(DIGEST)
    const [first] = two
    if (first === undefined || two.includes(this.id)) return undefined
    return { id: first, addresses: ['/ip4/10.0.0.1/tcp/7402'] }
  }

  #lineTo(id: string): Line | undefined {
    if (id === this.id) return this.#own
    const index = this.#indexOf(id)
    const known = this.#lines.get(index)
    if (known !== undefined) return known
    const line = new SimulatedLine(this.#world, this, this.#world.peers[index] as Peer)
    this.#lines.set(index, line)
    return line
  }

  #indexOf(id: string): number {
    return (this.#world.byId.get(id) as Peer).index
  }
}
