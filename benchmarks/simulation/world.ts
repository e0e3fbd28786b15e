import { Bitfield } from '../../protocols/bitfield.ts'
import { type Geometry, geometryOf, pieceLength } from '../../protocols/pieces.ts'
import type { Clock } from '../../src/clock.ts'
import { COSTS, HEADERS } from './costs.ts'
import type { Edge } from './edge.ts'
import { EventQueue } from './event-queue.ts'
import { Network } from './network.ts'
import type { Peer } from './peer.ts'
import { Places } from './places.ts'
import { Processors } from './processors.ts'
import type { Scenario } from './scenario.ts'
import { seeded } from './seeded.ts'

/** Kinds of events; `a` is an edge or a host. */
export const CALL = 0
export const PUMP = 1
export const TICK = 2
export const REQUESTED = 3
export const READY = 4
export const ARRIVED = 5
export const HELD = 6
export const TELL = 7
export const TOLD = 8
export const HEARD = 9

/** Between hosts that were not connected: TCP, Noise and the muxer take so many trips one way. */
const TRIPS = 7
const MiB = 1024 * 1024

/** What all hosts of a simulation share: time, chance, links, CPUs. */
export class World {
  readonly scenario: Scenario
  readonly geometry: Geometry
  readonly random: () => number
  readonly queue = new EventQueue()
  readonly network: Network
  readonly cpu: Processors
  readonly originPlaces: Places
  readonly clock: Clock
  readonly peers: Peer[] = []
  readonly byId = new Map<string, Peer>()
  readonly edges: (Edge | undefined)[] = []
  readonly messages = new Map<string, number>()
  now = 0
  wastedBytes = 0
  originBytes = 0
  originLastMs = 0
  originRequests = 0
  unfinished = 0
  originGone = false
  /** Pieces that all hosts together hold, and what is to happen when they hold so many: the next first. */
  #held = 0
  readonly #atHeld: { readonly pieces: number; readonly run: () => void }[] = []
  readonly #sentByOrigin: Bitfield
  /** Set when something was done that goes on in promises. */
  stirred = false
  readonly #calls: ((() => void) | undefined)[] = []
  readonly #freeCalls: number[] = []

  constructor(scenario: Scenario) {
    this.scenario = scenario
    this.geometry = geometryOf(scenario.mib * MiB)
    this.random = seeded(scenario.seed)
    this.#sentByOrigin = new Bitfield(this.geometry.pieces)
    const links = new Float64Array(scenario.hosts + 1).fill(bytesPerMs(scenario.mbit))
    for (const { host, mbit } of scenario.slow) links[host] = bytesPerMs(mbit)
    const up = links.slice()
    up[scenario.hosts] = bytesPerMs(scenario.originMbit)
    this.network = new Network(up, links)
    this.cpu = new Processors(scenario.hosts + 1, scenario.sharedCores)
    this.originPlaces = new Places(scenario.originRequests)
    const after = (delayMs: number, run: () => void) =>
      this.after(delayMs, () => {
        this.stirred = true
        run()
      })
    this.clock = { now: () => this.now, after }
  }

  /** The origin's place among the links. */
  get origin(): number {
    return this.scenario.hosts
  }

  /** @throws TypeError when there is none of that id */
  peer(id: string): Peer {
    const peer = this.byId.get(id)
    if (peer === undefined) throw new TypeError(`no host is called ${id}`)
    return peer
  }

  bytesOf(index: number): number {
    return pieceLength(this.geometry, index)
  }

  /** How long a message is on its way: on a connection that carries pieces, it comes behind them. */
  messageMs(from: Peer, to: Peer): number {
    return this.scenario.latencyMs + (to.neighbours.get(from)?.backlogMs ?? 0)
  }

  count(what: string, times = 1): void {
    this.messages.set(what, (this.messages.get(what) ?? 0) + times)
  }

  /** Somebody has come to hold a piece. */
  held(): void {
    this.#held++
    while (this.#held >= (this.#atHeld[0]?.pieces ?? Number.POSITIVE_INFINITY)) this.#atHeld.shift()?.run()
  }

  /** Runs when all hosts together hold such a share of what they want. */
  atShare(share: number, run: () => void): void {
    this.#atHeld.push({ pieces: share * this.scenario.hosts * this.geometry.pieces, run: () => this.after(0, run) })
    this.#atHeld.sort((a, b) => a.pieces - b.pieces)
  }

  sentByOrigin(index: number): void {
    this.#sentByOrigin.add(index)
    if (this.#sentByOrigin.complete && this.scenario.originStops) this.after(0, () => this.stopOrigin())
  }

  /** What it has not sent by now never comes. */
  stopOrigin(): void {
    if (this.originGone) return
    this.originGone = true
    for (const peer of this.peers) peer.importing.stop()
  }

  at(time: number, run: () => void): () => void {
    const slot = this.#freeCalls.pop() ?? this.#calls.length
    this.#calls[slot] = run
    this.queue.put(time, CALL, slot, 0)
    return () => {
      if (this.#calls[slot] === run) this.#calls[slot] = undefined
    }
  }

  after(delayMs: number, run: () => void): () => void {
    return this.at(this.now + Math.max(0, delayMs), run)
  }

  call(slot: number): void {
    const run = this.#calls[slot]
    this.#calls[slot] = undefined
    this.#freeCalls.push(slot)
    run?.()
  }

  /** Connects two hosts, if they are not, at the cost of both. */
  connect(from: Peer, to: Peer, then: (connected: boolean) => void): void {
    if (from.connected.has(to.index)) {
      then(true)
      return
    }
    const pending = from.connecting.get(to.index)
    if (pending !== undefined) {
      pending.push(then)
      return
    }
    const waiting = [then]
    from.connecting.set(to.index, waiting)
    to.connecting.set(from.index, waiting)
    const { latencyMs } = this.scenario
    const end = (connected: boolean) => {
      from.connecting.delete(to.index)
      to.connecting.delete(from.index)
      if (connected) {
        from.connected.add(to.index)
        to.connected.add(from.index)
      }
      for (const each of waiting) each(connected && from.alive && to.alive)
    }
    this.count('connection')
    const left = this.cpu.work(from.index, COSTS.connection, this.now)
    this.at(left + latencyMs, () => {
      if (!to.alive) {
        this.after(latencyMs, () => end(false))
        return
      }
      const done = this.cpu.work(to.index, COSTS.connection, this.now)
      this.at(done + (TRIPS - 1) * latencyMs, () => end(to.alive && from.alive))
    })
  }
}

function bytesPerMs(mbit: number): number {
  return (mbit * 1e6) / 8 / HEADERS / 1_000
}
