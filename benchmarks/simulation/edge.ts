import { expectedMs } from '../../src/download/expected.ts'
import type { Second } from '../../src/download/second-asks.ts'
import { DEFAULT_LIMITS } from '../../src/transfer/limits.ts'
import { Pace } from '../../src/transfer/pace.ts'
import type { Source } from '../../src/transfer/pick.ts'
import type { NeighbourState } from '../../src/transfer/transfer.ts'
import type { Rival } from '../../src/transfer/turns.ts'
import { COSTS } from './costs.ts'
import { Heard } from './heard.ts'
import type { Transfer } from './network.ts'
import type { Peer } from './peer.ts'
import { ARRIVED, READY, REQUESTED, type World } from './world.ts'

const KiB = 1024
const MiB = 1024 * KiB
/**
 * Of what a host sends to another, so much lies in buffers on the way: messages come behind it, and it is not called back. With this much
 * real crowds take as long as simulated ones; the rig's links queue 60 to 125 KB.
 */
const SOCKET_BYTES = 128 * KiB

/** A piece asked of a peer, until it has come. */
export interface Request {
  readonly index: number
  readonly bytes: number
  readonly sentAt: number
  readonly wasIdle: boolean
  /** Told when nothing more can come for it, and what came in vain. */
  readonly onOver: (lostBytes: number) => void
  /** When its holder has read and enciphered it. */
  readyAt: number
  cancelled: boolean
}

/** One host's interest in what another holds, with the data stream between them: pieces leave in the order asked, one after the other. */
export class Edge implements Transfer, Source, Second, Rival {
  readonly index: number
  readonly owner: Peer
  readonly peer: Peer
  /** The holder's, as a rival. */
  readonly seed: number
  readonly heard: Heard
  readonly #world: World
  state: NeighbourState = 'connecting'
  /** When it was taken in, and when its state last changed. */
  readonly takenInAt: number
  since: number
  dropped = false
  outstandingBytes = 0
  busyUntil = 0
  load = 0
  progressAt = 0
  /** The last news is not for the owner: it holds all that. */
  spared = false
  /** When the last news that was sent arrives. */
  newsDue = 0
  readonly requests: Request[] = []
  #pace: Pace | undefined
  /** As the pace has it, until that changes. */
  #allowanceBytes: number | undefined
  #requestDue = 0
  readonly #travelling: Request[] = []
  readonly #queue: Request[] = []
  readonly #arriving: Request[] = []
  #flow = -1
  #waiting = false

  constructor(index: number, owner: Peer, peer: Peer, world: World) {
    this.index = index
    this.owner = owner
    this.peer = peer
    this.seed = peer.seed
    this.heard = new Heard(peer.holdings)
    this.#world = world
    this.takenInAt = world.now
    this.since = world.now
  }

  get peerId(): string {
    return this.peer.id
  }

  get have(): Heard {
    return this.heard
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

  get bytesPerSecond(): number | undefined {
    return this.#pace?.bytesPerSecond
  }

  get patienceMs(): number {
    return this.#pace === undefined ? DEFAULT_LIMITS.startPatienceMs : this.#pace.patienceMs
  }

  get roomBytes(): number {
    this.#allowanceBytes ??= this.pace.allowanceBytes(this.#world.geometry.pieceBytes)
    return this.#allowanceBytes - this.outstandingBytes
  }

  offers(index: number): boolean {
    return this.heard.has(index)
  }

  expectedMs(bytes: number): number {
    return expectedMs(this, bytes) ?? this.patienceMs
  }

  /** Silent for longer than its own history explains. */
  isStalled(now: number): boolean {
    return this.requests.length > 0 && this.#flow < 0 && now - this.progressAt > this.patienceMs
  }

  /** How long nothing has come of what is owed. */
  silentMs(now: number): number {
    return this.requests.length === 0 || this.flowing ? 0 : now - this.progressAt
  }

  /** What has come of a piece that was asked for. */
  receivedBytes(request: Request): number {
    if (this.#arriving.includes(request)) return request.bytes
    if (this.#flow < 0 || request !== this.#queue[0]) return 0
    return request.bytes - this.#world.network.left(this.#flow, this.#world.now)
  }

  /** How long what the holder has written for the owner keeps its next message. */
  get backlogMs(): number {
    if (this.#flow < 0) return 0
    return Math.min(SOCKET_BYTES, this.#aheadOf(this.#queue.length)) / this.#world.network.rate(this.#flow)
  }

  /** When news that leaves the holder then arrives: behind pieces, and behind earlier news. */
  newsAt(left: number): number {
    this.newsDue = Math.max(this.newsDue, left + this.#world.scenario.latencyMs + this.backlogMs)
    return this.newsDue
  }

  ask(index: number, bytes: number, onOver: (lostBytes: number) => void): Request {
    const world = this.#world
    const wasIdle = this.pace.sent(world.now)
    const request = { index, bytes, sentAt: world.now, wasIdle, onOver, readyAt: 0, cancelled: false }
    this.outstandingBytes += bytes
    this.progressAt = world.now
    this.requests.push(request)
    this.#travelling.push(request)
    world.count('request')
    world.queue.put(this.#told(), REQUESTED, this.index, 0)
    return request
  }

  /** A request has come to the holder. */
  requested(): void {
    const world = this.#world
    const request = this.#travelling.shift()
    if (request === undefined || this.dropped || !this.peer.alive) return
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
    this.#forget(request)
    this.#over(request, 0)
    this.pace.refused(this.#world.now, this.#world.random)
    this.busyUntil = this.pace.busyUntil
  }

  #refuse(request: Request): void {
    const world = this.#world
    world.count('busy')
    const said = world.cpu.work(this.peer.index, COSTS.receive + COSTS.send, world.now)
    world.at(said + world.scenario.latencyMs, () => {
      if (this.dropped) return
      if (request.cancelled) this.#over(request, 0)
      else this.owner.downloading.refused(this, request)
    })
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

  /** The last byte of a piece has arrived. */
  arrived(): Request {
    const request = this.#arriving.shift() as Request
    if (!request.cancelled) this.#forget(request)
    this.#over(request, request.bytes)
    return request
  }

  /** Nobody waits for it any more: it comes nevertheless if it has been written when the holder hears of that. */
  cancel(request: Request): void {
    if (request.cancelled || !this.requests.includes(request)) return
    this.#forget(request)
    request.cancelled = true
    this.#world.count('cancel')
    this.#world.at(this.#told(), () => {
      if (!this.dropped) this.#withdraw(request)
    })
  }

  /** Either end is gone, or has lost interest. */
  drop(): void {
    if (this.dropped) return
    this.dropped = true
    const { network, now, edges } = this.#world
    const [head] = this.#queue
    if (this.#flow >= 0 && head !== undefined) {
      this.#world.wastedBytes += head.bytes - network.end(this.#flow, now)
      this.#flow = -1
      this.peer.uplink.give()
    }
    for (const request of this.#queue) this.peer.uplink.queuedBytes -= request.bytes
    for (const request of this.#arriving) this.#world.wastedBytes += request.bytes
    for (const request of [...this.#travelling, ...this.#queue, ...this.#arriving]) request.onOver(0)
    this.#queue.length = 0
    edges[this.index] = undefined
  }

  /** When a message to the holder arrives: behind pieces that the owner sends it. */
  #told(): number {
    const world = this.#world
    const left = world.cpu.work(this.owner.index, COSTS.send, world.now)
    this.#requestDue = Math.max(this.#requestDue, left + world.messageMs(this.owner, this.peer))
    return this.#requestDue
  }

  #withdraw(request: Request): void {
    const at = this.#queue.indexOf(request)
    const written = this.#flow >= 0 && at >= 0 && this.#aheadOf(at) < SOCKET_BYTES
    if (at < 0 || written) return
    this.peer.uplink.queuedBytes -= request.bytes
    this.#queue.splice(at, 1)
    this.#over(request, 0)
  }

  /** What is to be sent before the piece in that place of the queue. */
  #aheadOf(place: number): number {
    const { network, now } = this.#world
    let bytes = 0
    for (let i = 0; i < place; i++) {
      const { bytes: all, readyAt } = this.#queue[i] as Request
      if (i === 0 && this.#flow >= 0) bytes += network.left(this.#flow, now)
      else if (readyAt <= now) bytes += all
    }
    return bytes
  }

  #started(request: Request): void {
    const at = this.#world.now + this.#world.scenario.latencyMs
    this.pace.started(at - request.sentAt, request.wasIdle, at)
    this.#allowanceBytes = undefined
  }

  #forget(request: Request): void {
    this.requests.splice(this.requests.indexOf(request), 1)
    this.outstandingBytes -= request.bytes
  }

  #over(request: Request, bytes: number): void {
    this.pace.ended(bytes, this.#world.now)
    this.#allowanceBytes = undefined
    request.onOver(request.cancelled ? bytes : 0)
  }
}
