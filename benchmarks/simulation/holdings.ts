import { Bitfield } from '../../protocols/bitfield.ts'
import { DEFAULT_LIMITS } from '../../src/transfer/limits.ts'
import { gatherMs } from '../../src/transfer/telling.ts'
import { COSTS } from './costs.ts'
import type { Edge } from './edge.ts'
import type { Peer } from './peer.ts'
import { HEARD, TELL, TOLD, type World } from './world.ts'

/**
 * What one host holds, and whom it tells of that. News leaves for all who lack some of it at the same time, and arrives so too, but
 * where pieces are on their way to somebody: there it comes behind them.
 */
export class Holdings {
  readonly held: Bitfield
  readonly subscribers = new Set<Edge>()
  readonly #self: Peer
  readonly #world: World
  readonly #inOrder: Uint16Array
  /** By piece, how many came before it. */
  readonly #places: Uint16Array
  #told = 0
  #tellsAt = Number.POSITIVE_INFINITY
  #toldAt = Number.NEGATIVE_INFINITY

  constructor(self: Peer, world: World) {
    this.#self = self
    this.#world = world
    const { pieces } = world.geometry
    this.held = new Bitfield(pieces)
    this.#inOrder = new Uint16Array(pieces)
    this.#places = new Uint16Array(pieces).fill(0xffff)
  }

  placeOf(index: number): number {
    return this.#places[index] as number
  }

  /** Of how many pieces those who want to know have been told. */
  get told(): number {
    return this.#told
  }

  /** The pieces that came then. */
  since(first: number, end: number): Uint16Array {
    return this.#inOrder.subarray(first, end)
  }

  /** @param first nobody else is known to hold it */
  add(index: number, first: boolean): void {
    this.#inOrder[this.held.count] = index
    this.#places[index] = this.held.count
    this.held.add(index)
    this.#world.held()
    const { size: subscribers } = this.subscribers
    if (subscribers === 0) return
    const { now, queue } = this.#world
    const at = now + gatherMs({ first, subscribers, toldMs: now - this.#toldAt }, DEFAULT_LIMITS)
    if (at >= this.#tellsAt) return
    this.#tellsAt = at
    queue.put(at, TELL, this.#self.index, 0)
  }

  /** What was gathered leaves for all who lack some of it. */
  tell(): void {
    const { now, queue, scenario } = this.#world
    if (now !== this.#tellsAt) return
    this.#tellsAt = Number.POSITIVE_INFINITY
    this.#toldAt = now
    if (!this.#self.alive) return
    const end = this.held.count
    let messages = 0
    let late = 0
    for (const edge of this.subscribers) {
      edge.spared = this.#needless(edge.owner, this.#told, end)
      if (edge.spared) continue
      messages++
      if (edge.flowing) late++
    }
    const left = this.#leaves(messages)
    if (late > 0)
      for (const edge of this.subscribers) if (edge.flowing && !edge.spared) queue.put(edge.newsAt(left), HEARD, edge.index, end)
    queue.put(left + scenario.latencyMs, TOLD, this.#self.index, end)
    this.#told = end
  }

  /** It is over: everybody is told that all is held. */
  tellAll(): void {
    this.#leaves(this.subscribers.size)
  }

  /** To whom no pieces were on their way, the first so many pieces that it came to hold are known now. */
  heard(count: number): void {
    const { now } = this.#world
    for (const edge of this.subscribers) if (edge.newsDue <= now) this.hear(edge, count)
  }

  /** One subscriber knows them. */
  hear(edge: Edge, count: number): void {
    const { owner, heard, state } = edge
    if (edge.dropped || state === 'connecting' || state === 'asked' || count <= heard.count) return
    const news = this.since(heard.count, count)
    heard.count = count
    if (edge.spared) {
      if (edge.useful) for (const index of news) owner.downloading.cover.add(index)
      return
    }
    this.#world.cpu.work(owner.index, COSTS.receive, this.#world.now)
    edge.load = this.#self.uplink.load
    owner.downloading.hear(edge, news)
  }

  #leaves(messages: number): number {
    this.#world.count('have', messages)
    return this.#world.cpu.work(this.#self.index, COSTS.send * messages, this.#world.now)
  }

  /** Who holds these pieces, as far as we know, will not ask for them. */
  #needless(other: Peer, first: number, end: number): boolean {
    const edge = this.#self.neighbours.get(other)
    if (edge?.useful !== true) return false
    for (let i = first; i < end; i++) if (!edge.heard.has(this.#inOrder[i] as number)) return false
    return true
  }
}
