import { Demand, type Reading } from '../../src/download/demand.ts'
import { Downlink } from '../../src/transfer/downlink.ts'
import { type Pick, pickPieces } from '../../src/transfer/pick.ts'
import { COSTS } from './costs.ts'
import type { Edge, Request } from './edge.ts'
import type { Peer } from './peer.ts'
import { HELD, PUMP, TICK, type World } from './world.ts'

/** As src/download/peer-source.ts and session.ts. */
const URGENT_PIECES = 8
const HOPELESS_MS = 10_000
const TICK_MS = 50
/** As src/download/usable.ts. */
const UNKNOWN_DELAY_MS = 10
const MiB = 1024 * 1024

interface Attempt {
  /** None: from the origin. */
  readonly edge: Edge | undefined
  readonly request: Request | undefined
}

/** What one host asks of its neighbours: as src/download/peer-source.ts, without bytes and liars. */
export class Downloading {
  readonly attempts = new Map<number, Attempt[]>()
  readonly demand: Demand
  readonly downlink = new Downlink()
  /** By piece: how many neighbours say they hold it. */
  readonly cover: Uint16Array
  readonly #self: Peer
  readonly #world: World
  readonly #landing = new Set<number>()
  #reading: Reading | undefined
  #pumping = false
  #room = true
  sizeKnown = false
  /** Missing pieces that no neighbour holds. */
  uncovered: number

  constructor(self: Peer, world: World) {
    this.#self = self
    this.#world = world
    const { pieces } = world.geometry
    this.demand = new Demand(pieces)
    this.cover = new Uint16Array(pieces)
    this.uncovered = pieces
  }

  start(): void {
    this.#reading = this.demand.add(0, this.#world.geometry.pieces - 1)
    this.#world.queue.put(this.#world.now + TICK_MS, TICK, this.#self.index, 0)
  }

  tick(): void {
    if (!this.#self.active) return
    this.#world.queue.put(this.#world.now + TICK_MS, TICK, this.#self.index, 0)
    if (this.attempts.size === 0 || this.uncovered > 0) this.wake()
    this.#hedge()
    this.#self.importing.tick()
  }

  /** Looks, once the CPU is free, whether there is something to ask for. */
  wake(): void {
    if (this.#pumping) return
    this.#pumping = true
    const { queue, now, cpu } = this.#world
    queue.put(Math.max(now, cpu.freeAt(this.#self.index)), PUMP, this.#self.index, 0)
  }

  pump(): void {
    this.#pumping = false
    if (!this.#self.active) return
    if (this.sizeKnown) for (const pick of this.#choose()) this.#fetch(pick)
    this.#self.importing.pump()
  }

  taken = (index: number): boolean => this.#self.held.has(index) || this.attempts.has(index)

  hearState(edge: Edge): void {
    const { told, finished } = edge.peer
    edge.have = told
    edge.state = told.count === 0 ? 'none' : finished && told.complete ? 'complete' : 'partial'
    if (told.count === 0) return
    for (let i = 0; i < told.length; i++) if (told.has(i)) this.covered(i)
    this.sizeKnown = true
    this.wake()
  }

  /** A neighbour tells of pieces. */
  hear(edge: Edge, pieces: Uint16Array, first: number, end: number): void {
    if (edge.state === 'failed') return
    edge.state = edge.have.complete && edge.peer.finished ? 'complete' : 'partial'
    let news = false
    for (let i = first; i < end; i++) {
      const index = pieces[i] as number
      this.covered(index)
      news ||= !this.taken(index)
    }
    if (!this.sizeKnown) this.sizeKnown = news = true
    if (news && this.#room) this.wake()
  }

  /** The last byte of a piece has come from a neighbour. */
  arrived(edge: Edge): void {
    const world = this.#world
    const request = edge.arrived()
    const { index, bytes } = request
    this.downlink.arrived(bytes, world.now)
    if (!this.#self.active) return
    if (request.cancelled || this.#self.held.has(index) || this.#landing.has(index)) {
      world.wastedBytes += bytes
      if (!request.cancelled) this.downlink.settled(bytes)
    } else this.land(index, COSTS.fetchedMiB)
    this.wake()
  }

  /** All bytes of a piece are there: it is verified and written. */
  land(index: number, msPerMiB: number): void {
    this.#landing.add(index)
    const world = this.#world
    const done = world.cpu.work(this.#self.index, (msPerMiB * world.bytesOf(index)) / MiB, world.now)
    world.queue.put(done, HELD, this.#self.index, index)
  }

  landed(index: number): void {
    if (!this.#self.active) return
    this.#landing.delete(index)
    for (const { edge, request } of this.attempts.get(index) ?? []) {
      if (edge !== undefined && request !== undefined && edge.requests.has(request)) this.#cancel(edge, request)
    }
    this.attempts.delete(index)
    this.downlink.settled(this.#world.bytesOf(index))
    if (this.cover[index] === 0) this.uncovered--
    this.#self.hold(index)
    const reading = this.#reading as Reading
    if (this.#world.scenario.readsInOrder) while (this.#self.held.has(reading.next)) reading.next++
    this.#self.importing.landed(index)
    if (this.#self.held.complete) this.#self.finish()
    else this.wake()
  }

  /** A neighbour is gone. */
  lost(edge: Edge): void {
    this.forget(edge)
    edge.state = 'failed'
    edge.drop()
    this.#room = true
    this.wake()
  }

  /** A neighbour counts no more. */
  forget(edge: Edge): void {
    if (edge.useful) {
      for (let i = 0; i < edge.have.length; i++) if (edge.have.has(i)) this.#uncover(i)
    }
    for (const request of edge.requests) {
      this.downlink.settled(request.bytes)
      this.#end(request.index, request)
    }
    edge.requests.clear()
  }

  begin(index: number): void {
    this.attempts.set(index, [...(this.attempts.get(index) ?? []), { edge: undefined, request: undefined }])
    this.downlink.asked(this.#world.bytesOf(index), this.#world.now)
  }

  /** An attempt at the origin is over. */
  end(index: number, arrived: boolean): void {
    const bytes = this.#world.bytesOf(index)
    if (arrived) this.downlink.arrived(bytes, this.#world.now)
    else {
      this.downlink.settled(bytes)
      this.#end(index, undefined)
    }
  }

  #end(index: number, request: Request | undefined): void {
    const left = (this.attempts.get(index) ?? []).filter((attempt) => attempt.request !== request)
    if (left.length === 0 && !this.#landing.has(index)) this.attempts.delete(index)
    else this.attempts.set(index, left)
  }

  covered(index: number): void {
    if ((this.cover[index] as number) === 0 && !this.#self.held.has(index)) this.uncovered--
    this.cover[index] = (this.cover[index] as number) + 1
  }

  #uncover(index: number): void {
    this.cover[index] = (this.cover[index] as number) - 1
    if (this.cover[index] === 0 && !this.#self.held.has(index)) this.uncovered++
  }

  #choose(): Pick[] {
    const { pieceBytes } = this.#world.geometry
    const room = this.downlink.roomBytes(pieceBytes, this.#delayMs())
    const roomBytes = this.attempts.size === 0 ? Math.max(room, pieceBytes) : room
    this.#room = roomBytes >= pieceBytes
    const missing = this.#room ? this.demand.missing(this.taken) : []
    if (missing.length === 0) return []
    const sources = this.#sources()
    if (sources.length === 0) return []
    const urgent = this.demand.urgent(this.taken, URGENT_PIECES)
    const picks = pickPieces({ missing, urgent, pieceBytes, roomBytes }, sources, this.#world.random)
    this.#room = roomBytes >= (picks.length + 1) * pieceBytes
    return picks
  }

  #sources(): Edge[] {
    const { now, geometry } = this.#world
    const sources: Edge[] = []
    for (const edge of this.#self.edges.values()) {
      if (!edge.useful || edge.busyUntil > now || this.#stalled(edge)) continue
      edge.roomBytes = edge.pace.allowanceBytes(geometry.pieceBytes) - edge.outstandingBytes
      sources.push(edge)
    }
    return sources
  }

  /** What the neighbours in use take to answer when they are idle. */
  #delayMs(): number {
    let [sum, count] = [0, 0]
    for (const edge of this.#self.edges.values()) {
      if (edge.requests.size === 0) continue
      sum += edge.pace.delayMs ?? UNKNOWN_DELAY_MS
      count++
    }
    return count === 0 ? UNKNOWN_DELAY_MS : sum / count
  }

  #stalled(edge: Edge): boolean {
    return edge.silentMs(this.#world.now) > edge.patienceMs
  }

  #fetch({ peerId, index }: { readonly peerId: string; readonly index: number }): void {
    const edge = this.#self.edges.get((this.#world.byId.get(peerId) as Peer).index) as Edge
    const bytes = this.#world.bytesOf(index)
    this.downlink.asked(bytes, this.#world.now)
    const request = edge.ask(index, bytes)
    const attempts = this.attempts.get(index)
    if (attempts === undefined) this.attempts.set(index, [{ edge, request }])
    else attempts.push({ edge, request })
  }

  #cancel(edge: Edge, request: Request): void {
    this.#world.wastedBytes += edge.cancel(request)
    this.downlink.settled(request.bytes)
  }

  /** Asks a second neighbour for what the first is silent about; gives up who is silent for too long. */
  #hedge(): void {
    const { now, geometry } = this.#world
    for (const edge of this.#self.edges.values()) {
      if (edge.requests.size === 0 || !this.#stalled(edge)) continue
      const hopeless = edge.silentMs(now) > HOPELESS_MS
      for (const request of [...edge.requests]) {
        const { index } = request
        if (hopeless) {
          this.#cancel(edge, request)
          this.#end(index, request)
          continue
        }
        if ((this.attempts.get(index)?.length ?? 0) !== 1) continue
        for (const other of this.#self.edges.values()) {
          if (!other.useful || this.#stalled(other) || !other.have.has(index)) continue
          if (other.outstandingBytes >= other.pace.allowanceBytes(geometry.pieceBytes)) continue
          this.#world.count('hedge')
          this.#fetch({ peerId: other.peerId, index })
          break
        }
      }
    }
  }
}
