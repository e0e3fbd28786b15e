import type { PeerRef } from '../../src/net/host.ts'
import { seedOf } from '../../src/transfer/turns.ts'
import { Attendance } from './attendance.ts'
import { Downloading } from './downloading.ts'
import { Holdings } from './holdings.ts'
import { Importing } from './importing.ts'
import { Neighbours } from './neighbours.ts'
import { Uplink } from './uplink.ts'
import type { World } from './world.ts'

/** One host, with a daemon and a client that wants the blob. */
export class Peer {
  readonly index: number
  readonly ref: PeerRef
  /** Its place in the turns of each piece. */
  readonly seed: number
  /** The members of the zone that it knows, without itself. */
  readonly view: readonly PeerRef[]
  readonly connected = new Set<number>()
  /** Those who wait for a connection that is being made. */
  readonly connecting = new Map<number, ((connected: boolean) => void)[]>()
  readonly uplink = new Uplink()
  readonly holdings: Holdings
  readonly neighbours: Neighbours
  readonly attendance: Attendance
  readonly downloading: Downloading
  readonly importing: Importing
  readonly #world: World
  #startedAt: number | undefined
  #tookMs: number | undefined
  alive = true

  constructor(world: World, ref: PeerRef, view: readonly PeerRef[]) {
    this.index = world.peers.length
    this.ref = ref
    this.seed = seedOf(ref.id)
    this.view = view
    this.#world = world
    this.holdings = new Holdings(this, world)
    this.neighbours = new Neighbours(this, world)
    this.attendance = new Attendance(this, world)
    this.downloading = new Downloading(this, world)
    this.importing = new Importing(this, world)
  }

  get id(): string {
    return this.ref.id
  }

  /** It wants something, and has not got all of it. */
  get active(): boolean {
    return this.alive && this.#startedAt !== undefined && this.#tookMs === undefined
  }

  get startedAt(): number {
    return this.#startedAt ?? Number.POSITIVE_INFINITY
  }

  /** How long it took to have everything; `undefined` when it does not. */
  get tookMs(): number | undefined {
    return this.#tookMs
  }

  start(): void {
    if (!this.alive) return
    this.#startedAt = this.#world.now
    this.attendance.join()
    this.neighbours.start(this.view.map(({ id }) => this.#world.peer(id)))
    this.downloading.start()
  }

  finish(): void {
    this.#tookMs = this.#world.now - this.startedAt
    this.#world.unfinished--
    this.attendance.complete()
    this.holdings.tellAll()
    this.neighbours.leaveAll()
  }

  /** It is gone, with all that it holds; connections to it break. */
  die(): void {
    if (!this.alive) return
    const world = this.#world
    if (this.#tookMs === undefined) world.unfinished--
    this.alive = false
    this.importing.stop()
    this.neighbours.vanish()
    this.attendance.vanish()
    for (const peer of world.peers) {
      if (!peer.alive) continue
      peer.connected.delete(this.index)
      peer.attendance.lost(this.id)
      const edge = peer.neighbours.get(this)
      if (edge === undefined) continue
      edge.drop()
      world.after(world.scenario.latencyMs, () => peer.active && peer.neighbours.lost(edge))
    }
  }
}
