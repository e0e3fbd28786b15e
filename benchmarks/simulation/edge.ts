import { Bitfield } from '../../protocols/bitfield.ts'
import { DEFAULT_LIMITS } from '../../src/transfer/limits.ts'
import { Pace } from '../../src/transfer/pace.ts'
import type { Source } from '../../src/transfer/pick.ts'
import { COSTS } from './costs.ts'
import type { Transfer } from './network.ts'
import type { Peer } from './peer.ts'
import { ARRIVED, READY, REQUESTED, type World } from './world.ts'

const NOTHING = new Bitfield(0)
const MiB = 1024 * 1024

/** A piece asked of a peer, until it has come. */
export interface Request {
  readonly index: number
  readonly bytes: number
  readonly sentAt: number
  readonly wasIdle: boolean
  /** When its holder has read and enciphered it. */
  readyAt: number
  cancelled: boolean
}

/** One host's interest in what another holds, with the data stream between them: pieces leave in the order asked, one after the other. */
export class Edge implements Transfer, Source {
  readonly index: number
  readonly owner: Peer
  readonly peer: Peer
  readonly #world: World
  state: 'connecting' | 'asked' | 'none' | 'partial' | 'complete' | 'failed' = 'connecting'
  since: number
  dropped = false
  /** As `Source`: updated before each choice. */
  have: Bitfield = NOTHING
  roomBytes = 0
  outstandingBytes = 0
  load = 0
  progressAt = 0
  readonly requests = new Set<Request>()
  #pace: Pace | undefined
  readonly #travelling: Request[] = []
  readonly #queue: Request[] = []
  readonly #arriving: Request[] = []
  #flow = -1
  #waiting = false

  constructor(index: number, owner: Peer, peer: Peer, world: World) {
    this.index = index
    this.owner = owner
    this.peer = peer
    this.#world = world
    this.since = world.now
  }

  get peerId(): string {
    return this.peer.id
  }

  get pace(): Pace {
    this.#pace ??= new Pace(DEFAULT_LIMITS)
    return this.#pace
  }

  /** Something of what was asked is on its way now. */
  get flowing(): boolean {
    return this.#flow >= 0
  }

  get useful(): boolean {
    return this.state === 'partial' || this.state === 'complete'
  }

  get delayMs(): number | undefined {
    return this.#pace?.delayMs
  }

  get busyUntil(): number {
    return this.#pace?.busyUntil ?? 0
  }

  get patienceMs(): number {
    return this.#pace === undefined ? DEFAULT_LIMITS.startPatienceMs : this.#pace.patienceMs
  }

  /** Silent for longer than its own history explains. */
  isStalled(now: number): boolean {
    return this.silentMs(now) > this.patienceMs
  }

  /** How long nothing has come of what is owed. */
  silentMs(now: number): number {
    return this.requests.size === 0 || this.flowing ? 0 : now - this.progressAt
  }

  ask(index: number, bytes: number): Request {
    const world = this.#world
    const wasIdle = this.pace.sent(world.now)
    const request = { index, bytes, sentAt: world.now, wasIdle, readyAt: 0, cancelled: false }
    this.outstandingBytes += bytes
    this.progressAt = world.now
    this.requests.add(request)
    this.#travelling.push(request)
    world.count('request')
    const left = world.cpu.work(this.owner.index, COSTS.send, world.now)
    world.queue.put(left + world.scenario.latencyMs, REQUESTED, this.index, 0)
    return request
  }

  /** A request has come to the holder. */
  requested(): void {
    const world = this.#world
    const request = this.#travelling.shift()
    if (request === undefined || request.cancelled || this.dropped) return
    if (!this.peer.alive) return
    if (this.#queue.length > 0 && this.peer.uplink.crowded) {
      this.#refuse(request)
      return
    }
    const cost = COSTS.receive + (COSTS.servedMiB * request.bytes) / MiB
    request.readyAt = world.cpu.work(this.peer.index, cost, world.now)
    this.peer.uplink.queuedBytes += request.bytes
    this.#queue.push(request)
    this.kick()
  }

  /** The peer said that it has too much to do. */
  refused(request: Request): void {
    this.#over(request, 0)
    this.pace.refused(this.#world.now, this.#world.random)
  }

  #refuse(request: Request): void {
    const world = this.#world
    world.count('busy')
    const said = world.cpu.work(this.peer.index, COSTS.receive + COSTS.send, world.now)
    world.at(said + world.scenario.latencyMs, () => this.owner.downloading.refused(this, request))
  }

  /** Sends the next piece if it is read, and the holder has a slot. */
  kick(): void {
    const world = this.#world
    const head = this.#queue[0]
    if (head === undefined || this.#flow >= 0 || this.#waiting || !this.peer.alive) return
    if (head.readyAt > world.now) {
      this.#waiting = true
      world.queue.put(head.readyAt, READY, this.index, 0)
      return
    }
    if (!this.peer.uplink.take(this)) {
      this.#waiting = true
      return
    }
    this.#started(head)
    this.#flow = world.network.begin(this, this.peer.index, this.owner.index, head.bytes, world.now)
  }

  /** What it waited for has come: its piece is read, or a slot is free. */
  ready(): void {
    this.#waiting = false
    if (!this.dropped) this.kick()
  }

  sent(): number {
    const world = this.#world
    const done = this.#queue.shift() as Request
    this.peer.uplink.queuedBytes -= done.bytes
    this.progressAt = world.now + world.scenario.latencyMs
    this.#arriving.push(done)
    world.queue.put(this.progressAt, ARRIVED, this.index, 0)
    const next = this.#queue[0]
    if (next !== undefined && next.readyAt <= world.now && !this.peer.uplink.othersWait) {
      this.#started(next)
      return next.bytes
    }
    this.#flow = -1
    this.peer.uplink.give()
    this.kick()
    return 0
  }

  arrived(): Request {
    const request = this.#arriving.shift() as Request
    this.#over(request, request.bytes)
    return request
  }

  /** It is not wanted any more. @returns the bytes that came in vain */
  cancel(request: Request): number {
    if (!this.requests.has(request)) return 0
    const world = this.#world
    request.cancelled = true
    world.count('cancel')
    world.cpu.work(this.owner.index, COSTS.send, world.now)
    if (this.#arriving.includes(request)) return 0
    const sent = this.#withdraw(request)
    this.#over(request, 0)
    return sent
  }

  /** Either end is gone, or has lost interest. */
  drop(): void {
    if (this.dropped) return
    this.dropped = true
    if (this.#flow >= 0) {
      this.#world.network.end(this.#flow, this.#world.now)
      this.#flow = -1
      this.peer.uplink.give()
    }
    for (const request of this.#queue) this.peer.uplink.queuedBytes -= request.bytes
    this.#queue.length = 0
  }

  #withdraw(request: Request): number {
    const at = this.#queue.indexOf(request)
    if (at < 0) return 0
    const world = this.#world
    this.peer.uplink.queuedBytes -= request.bytes
    this.#queue.splice(at, 1)
    if (at > 0 || this.#flow < 0) return 0
    const next = this.#queue[0]
    if (next !== undefined && next.readyAt <= world.now) {
      this.#started(next)
      return request.bytes - world.network.replace(this.#flow, next.bytes, world.now)
    }
    const left = world.network.end(this.#flow, world.now)
    this.#flow = -1
    this.peer.uplink.give()
    this.kick()
    return request.bytes - left
  }

  #started(request: Request): void {
    const at = this.#world.now + this.#world.scenario.latencyMs
    this.pace.started(at - request.sentAt, request.wasIdle, at)
  }

  #over(request: Request, bytes: number): void {
    this.requests.delete(request)
    this.outstandingBytes -= request.bytes
    this.pace.ended(bytes, this.#world.now)
  }
}
