import { Demand, type Reading } from '../../src/download/demand.ts'
import { Downlink } from '../../src/transfer/downlink.ts'
import { choose, delayMs } from './choose.ts'
import { COSTS } from './costs.ts'
import { Cover } from './cover.ts'
import type { Edge, Request } from './edge.ts'
import { MIRRORED } from './mirrored.ts'
import type { Peer } from './peer.ts'
import { HELD, PUMP, TICK, type World } from './world.ts'

const { HOPELESS_MS, TICK_MS } = MIRRORED

/**
 * What neighbours tell within this time is looked at together: it is less than the spread of their messages, and makes a large crowd
 * affordable. Of very large ones it is a twentieth of what a piece takes on its way from one to the next.
 */
const NEWS_MS = 10
const VERY_LARGE = 500
const VERY_LARGE_NEWS_MS = 40
const MiB = 1024 * 1024

/** A piece being brought in, by a neighbour or (without one) from the origin. */
type Attempt = { readonly edge: Edge; readonly request: Request } | 'origin'

/** One host's way to have everything: as src/download/incoming.ts and peer-source.ts, without bytes and liars. */
export class Downloading {
  readonly attempts = new Map<number, Attempt[]>()
  readonly demand: Demand
  readonly downlink = new Downlink()
  readonly cover: Cover
  readonly #self: Peer
  readonly #world: World
  /** Pieces being verified and written, and how many bytes of each still count as outstanding. */
  readonly #landing = new Map<number, number>()
  readonly #reading: Reading
  readonly #newsMs: number
  #pumping = false
  #room = true
  /** What the nearest neighbour takes to answer when it is idle, as it was at the last tick. */
  delayMs: number = MIRRORED.UNKNOWN_DELAY_MS
  sizeKnown = false

  constructor(self: Peer, world: World) {
    this.#self = self
    this.#world = world
    this.#newsMs = world.scenario.hosts > VERY_LARGE ? VERY_LARGE_NEWS_MS : NEWS_MS
    const { pieces } = world.geometry
    this.demand = new Demand(pieces)
    this.#reading = this.demand.add(0, pieces - 1)
    this.cover = new Cover(self.holdings.held)
  }

  start(): void {
    this.#tickSoon()
  }

  tick(): void {
    if (!this.#self.active) return
    this.#tickSoon()
    this.delayMs = delayMs(this.#self)
    if (this.#room || this.cover.orphans > 0) this.wake()
    this.#hedge()
    this.#self.importing.tick()
  }

  /** Looks, once the CPU is free, whether there is something to ask for. */
  wake(delayMs = 0): void {
    if (this.#pumping) return
    this.#pumping = true
    const { queue, now, cpu } = this.#world
    queue.put(Math.max(now + delayMs, cpu.freeAt(this.#self.index)), PUMP, this.#self.index, 0)
  }

  pump(): void {
    this.#pumping = false
    if (!this.#self.active) return
    if (this.sizeKnown) {
      const { picks, room } = choose(this.#self, this.#world)
      this.#room = room
      for (const { peerId, index } of picks) this.#fetch(this.#self.neighbours.get(this.#world.peer(peerId)) as Edge, index)
    }
    this.#self.importing.pump()
  }

  /** Held, or being brought in. */
  taken = (index: number): boolean => this.#self.holdings.held.has(index) || this.attempts.has(index)

  /** Some piece is on its way from a neighbour. */
  get busy(): boolean {
    for (const attempts of this.attempts.values()) if (attempts.some((attempt) => attempt !== 'origin')) return true
    return false
  }

  /** A neighbour says for the first time what it holds. */
  hearState(edge: Edge): void {
    const { told } = edge.peer.holdings
    edge.have = told
    edge.state = told.count === 0 ? 'none' : told.complete ? 'complete' : 'partial'
    if (told.count === 0) return
    for (let index = 0; index < told.length; index++) if (told.has(index)) this.cover.add(index)
    this.sizeKnown = true
    this.wake()
  }

  /** A neighbour tells of pieces that it has come to hold. */
  hear(edge: Edge, pieces: Uint16Array): void {
    if (edge.state === 'failed') return
    edge.state = edge.have.complete ? 'complete' : 'partial'
    let news = !this.sizeKnown
    for (const index of pieces) {
      this.cover.add(index)
      news ||= !this.taken(index)
    }
    this.sizeKnown = true
    if (news && this.#room) this.wake(this.#newsMs)
  }

  /** The last byte of a piece has come from a neighbour. */
  arrived(edge: Edge): void {
    const { index, bytes, cancelled } = edge.arrived()
    this.downlink.arrived(bytes, this.#world.now)
    if (!this.#self.active) return
    if (!cancelled && this.#land(index, bytes, COSTS.fetchedMiB)) return
    this.#world.wastedBytes += bytes
    if (!cancelled) this.downlink.settled(bytes)
    this.wake()
  }

  /** The last byte of a piece has come from the origin. @returns whether it was of use */
  imported(index: number): boolean {
    if (this.#land(index, 0, COSTS.importedMiB)) return true
    this.#world.wastedBytes += this.#world.bytesOf(index)
    return false
  }

  /** A piece is verified and written. */
  landed(index: number): void {
    if (!this.#self.active) return
    const outstanding = this.#landing.get(index) as number
    this.#landing.delete(index)
    if (outstanding > 0) this.downlink.settled(outstanding)
    for (const attempt of this.attempts.get(index) ?? []) if (attempt !== 'origin') this.#cancel(attempt)
    this.attempts.delete(index)
    const { holdings, importing } = this.#self
    this.cover.landing(index)
    holdings.add(index)
    if (this.#world.scenario.readsInOrder) while (holdings.held.has(this.#reading.next)) this.#reading.next++
    importing.landed(index)
    if (holdings.held.complete) this.#self.finish()
    else this.wake()
  }

  /** A neighbour has too much to do. */
  refused(edge: Edge, request: Request): void {
    if (edge.dropped || !edge.requests.has(request)) return
    edge.refused(request)
    this.#over(request)
    this.wake()
  }

  /** A neighbour counts no more. */
  forget(edge: Edge): void {
    if (edge.useful) for (let index = 0; index < edge.have.length; index++) if (edge.have.has(index)) this.cover.remove(index)
    for (const request of edge.requests) this.#over(request)
    edge.requests.clear()
    this.#room = true
  }

  beginImport(index: number): void {
    this.#attempt(index, 'origin')
  }

  importFailed(index: number): void {
    this.#without(index, (attempt) => attempt === 'origin')
  }

  #tickSoon(): void {
    this.#world.queue.put(this.#world.now + TICK_MS, TICK, this.#self.index, 0)
  }

  /** @returns false when the piece is there already, or comes by another way */
  #land(index: number, outstanding: number, msPerMiB: number): boolean {
    if (this.#self.holdings.held.has(index) || this.#landing.has(index)) return false
    this.#landing.set(index, outstanding)
    const { cpu, queue, now } = this.#world
    const done = cpu.work(this.#self.index, (msPerMiB * this.#world.bytesOf(index)) / MiB, now)
    queue.put(done, HELD, this.#self.index, index)
    return true
  }

  #fetch(edge: Edge, index: number): void {
    const bytes = this.#world.bytesOf(index)
    this.downlink.asked(bytes, this.#world.now)
    this.#attempt(index, { edge, request: edge.ask(index, bytes) })
  }

  #attempt(index: number, attempt: Attempt): void {
    const attempts = this.attempts.get(index)
    if (attempts === undefined) this.attempts.set(index, [attempt])
    else attempts.push(attempt)
  }

  #cancel({ edge, request }: { edge: Edge; request: Request }): void {
    if (!edge.requests.has(request)) return
    this.#world.wastedBytes += edge.cancel(request)
    this.downlink.settled(request.bytes)
  }

  /** A request will bring nothing. */
  #over(request: Request): void {
    this.downlink.settled(request.bytes)
    this.#without(request.index, (attempt) => attempt !== 'origin' && attempt.request === request)
  }

  #without(index: number, is: (attempt: Attempt) => boolean): void {
    const left = (this.attempts.get(index) ?? []).filter((attempt) => !is(attempt))
    if (left.length > 0 || this.#landing.has(index)) this.attempts.set(index, left)
    else this.attempts.delete(index)
  }

  /** Asks a second neighbour for what the first is silent about; gives up who is silent for too long. */
  #hedge(): void {
    const { now } = this.#world
    for (const edge of this.#self.neighbours) {
      if (edge.requests.size === 0 || !edge.isStalled(now)) continue
      const hopeless = edge.silentMs(now) > HOPELESS_MS
      for (const request of [...edge.requests]) {
        if (hopeless) {
          this.#cancel({ edge, request })
          this.#without(request.index, (attempt) => attempt !== 'origin' && attempt.request === request)
        } else if (this.attempts.get(request.index)?.length === 1) this.#askAnother(request.index)
      }
    }
  }

  #askAnother(index: number): void {
    const { now, geometry } = this.#world
    for (const edge of this.#self.neighbours) {
      if (!edge.useful || edge.busyUntil > now || edge.isStalled(now) || !edge.have.has(index)) continue
      if (edge.outstandingBytes >= edge.pace.allowanceBytes(geometry.pieceBytes)) continue
      this.#world.count('hedge')
      this.#fetch(edge, index)
      return
    }
  }
}
