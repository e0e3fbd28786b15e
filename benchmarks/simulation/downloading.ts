import { Demand, type Reading } from '../../src/download/demand.ts'
import { expectedMs, nearestMs } from '../../src/download/expected.ts'
import { Spare } from '../../src/download/spare.ts'
import { Usefulness } from '../../src/download/usefulness.ts'
import { Ventures } from '../../src/download/ventures.ts'
import { Downlink } from '../../src/transfer/downlink.ts'
import { choose } from './choose.ts'
import { COSTS } from './costs.ts'
import { Cover } from './cover.ts'
import type { Edge, Request } from './edge.ts'
import { MIRRORED } from './mirrored.ts'
import type { Peer } from './peer.ts'
import { chooseSeconds } from './seconds.ts'
import { HELD, PUMP, TICK, type World } from './world.ts'

const { HOPELESS_MS, SECONDS_EVERY_MS, TICK_MS } = MIRRORED

/**
 * What neighbours tell within this time is looked at together: it is less than the spread of their messages, and makes a large crowd
 * affordable. Of very large ones it is a twentieth of what a piece takes on its way from one to the next.
 */
const NEWS_MS = 10
const VERY_LARGE = 500
const VERY_LARGE_NEWS_MS = 40
/** What neighbours take to answer changes slowly. */
const TICKS_PER_DELAY = 5
const MiB = 1024 * 1024

/** A piece asked of a neighbour. */
export interface Asked {
  readonly edge: Edge
  readonly request: Request
  /** How long it was expected to take; `undefined`: nobody knew. */
  readonly expectedMs: number | undefined
}

/** A piece being brought in, by a neighbour or (without one) from the origin. */
export type Attempt = Asked | 'origin'

/** One host's way to have everything: as src/download/incoming.ts and peer-source.ts, without bytes and liars. */
export class Downloading {
  readonly attempts = new Map<number, Attempt[]>()
  readonly demand: Demand
  readonly downlink = new Downlink()
  readonly spare = new Spare()
  readonly cover: Cover
  /** Pieces that are imported whoever holds them. */
  readonly audited = new Set<number>()
  readonly #self: Peer
  readonly #world: World
  readonly #ventures = new Ventures(this.spare)
  readonly #usefulness = new Usefulness()
  /** Pieces being verified and written, and how many bytes of each still count as outstanding. */
  readonly #landing = new Map<number, number>()
  readonly #reading: Reading
  readonly #newsMs: number
  #ticks = 0
  #secondsAt = 0
  #pumping = false
  #room = true
  /** Nothing is left to ask for the first time, and there is room for more. */
  #endgame = false
  /** What the nearest neighbour takes to answer when it is idle, as it was a moment ago. */
  delayMs = nearestMs([])
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
    if (this.#ticks++ % TICKS_PER_DELAY === 0) this.delayMs = nearestMs(this.#self.neighbours.list)
    if (this.#room || this.cover.orphans > 0) this.wake()
    this.#giveUpHopeless()
    this.#askSeconds()
    this.#review()
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
      const { picks, room, left } = choose(this.#self, this.#world)
      this.#room = room
      this.#endgame = room && left === 0
      for (const { peerId, index } of picks) this.#fetch(this.#neighbour(peerId), index)
      this.#askSeconds()
    }
    this.#self.importing.pump()
  }

  /** Held, or being brought in. */
  taken = (index: number): boolean => this.#self.holdings.held.has(index) || this.attempts.has(index) || this.audited.has(index)

  /** Some piece is on its way from a neighbour. */
  get busy(): boolean {
    for (const attempts of this.attempts.values()) for (const attempt of attempts) if (attempt !== 'origin') return true
    return false
  }

  /** A neighbour says for the first time what it holds. */
  hearState(edge: Edge, count: number): void {
    const { heard, peer } = edge
    heard.count = count
    edge.state = count === 0 ? 'none' : heard.complete ? 'complete' : 'partial'
    if (count === 0) return
    for (const index of peer.holdings.since(0, count)) this.cover.add(index)
    this.sizeKnown = true
    this.wake()
  }

  /** A neighbour tells of pieces that it has come to hold. */
  hear(edge: Edge, pieces: Uint16Array): void {
    if (edge.state === 'failed') return
    edge.state = edge.heard.complete ? 'complete' : 'partial'
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
    if (!cancelled) {
      this.#usefulness.gave(edge.peerId)
      if (this.#land(index, bytes, COSTS.fetchedMiB)) {
        this.spare.earn(bytes)
        return
      }
      this.spare.settle(0, bytes)
      this.downlink.settled(bytes)
    }
    this.#world.wastedBytes += bytes
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
    const first = !this.cover.has(index)
    this.cover.landing(index)
    holdings.add(index, first)
    if (this.#world.scenario.readsInOrder) while (holdings.held.has(this.#reading.next)) this.#reading.next++
    importing.landed(index)
    if (holdings.held.complete) this.#self.finish()
    else this.wake()
  }

  /** A neighbour has too much to do. */
  refused(edge: Edge, request: Request): void {
    edge.refused(request)
    this.#usefulness.askedInVain(edge.peerId)
    this.#over(request)
    this.wake()
  }

  /** A neighbour counts no more. */
  forget(edge: Edge): void {
    if (edge.useful) for (const index of edge.peer.holdings.since(0, edge.heard.count)) this.cover.remove(index)
    for (const request of edge.requests) this.#over(request)
    this.#room = true
  }

  beginImport(index: number): void {
    this.#attempt(index, 'origin')
  }

  importFailed(index: number): void {
    this.#without(index, (attempt) => attempt === 'origin')
  }

  /** A piece is to be imported, whoever brings it now. */
  audit(index: number): void {
    this.audited.add(index)
    for (const attempt of this.attempts.get(index) ?? []) {
      if (attempt === 'origin') continue
      this.#cancel(attempt)
      this.#without(index, (other) => other === attempt)
    }
  }

  #neighbour(peerId: string): Edge {
    return this.#self.neighbours.get(this.#world.peer(peerId)) as Edge
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

  /** @param venturedBytes it has been asked of another too: so much may come twice */
  #fetch(edge: Edge, index: number, venturedBytes = 0): void {
    const bytes = this.#world.bytesOf(index)
    const attempt = { edge, expectedMs: expectedMs(edge, bytes) }
    this.downlink.asked(bytes, this.#world.now)
    const request = edge.ask(index, bytes, this.#ventures.begin(index, venturedBytes))
    this.#attempt(index, { ...attempt, request })
  }

  #attempt(index: number, attempt: Attempt): void {
    const others = this.attempts.get(index)
    if (others === undefined) this.attempts.set(index, [attempt])
    else others.push(attempt)
  }

  #cancel({ edge, request }: Asked): void {
    if (!edge.requests.includes(request)) return
    edge.cancel(request)
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

  /** Gives up who is silent for too long. */
  #giveUpHopeless(): void {
    const { now } = this.#world
    for (const [index, attempts] of this.attempts) {
      for (const attempt of attempts) {
        if (attempt === 'origin' || attempt.edge.silentMs(now) <= HOPELESS_MS) continue
        this.#usefulness.askedInVain(attempt.edge.peerId)
        this.#cancel(attempt)
        this.#without(index, (other) => other === attempt)
      }
    }
  }

  /** Asks second holders for what is late. */
  #askSeconds(): void {
    const { now } = this.#world
    if (this.attempts.size === 0 || now < this.#secondsAt) return
    this.#secondsAt = now + SECONDS_EVERY_MS
    for (const { peerId, index, spareBytes } of chooseSeconds(this.#self, this.#world, this.#endgame, this.#landing)) {
      this.#world.count('second')
      this.#fetch(this.#neighbour(peerId), index, spareBytes)
    }
  }

  /** Neighbours that are of no use give way to others that are known. */
  #review(): void {
    const { neighbours, holdings } = this.#self
    const { now } = this.#world
    if (neighbours.waiting === 0 || !this.#usefulness.due(now)) return
    neighbours.exchange(this.#usefulness.review(neighbours.seated(now), holdings.held, now))
  }
}
