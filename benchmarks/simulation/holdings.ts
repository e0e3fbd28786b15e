import { Bitfield } from '../../protocols/bitfield.ts'
import { DEFAULT_LIMITS } from '../../src/transfer/limits.ts'
import { COSTS } from './costs.ts'
import type { Edge } from './edge.ts'
import { MIRRORED } from './mirrored.ts'
import type { Peer } from './peer.ts'
import { TELL, TOLD, type World } from './world.ts'

const { MS_PER_SUBSCRIBER } = MIRRORED

/**
 * What one host holds, and whom it tells of that. All who want to know are told at the same time, so what they were told is kept
 * once for all of them.
 */
export class Holdings {
  readonly held: Bitfield
  /** What those who want to know have been told. */
  readonly told: Bitfield
  readonly subscribers = new Set<Edge>()
  readonly #self: Peer
  readonly #world: World
  readonly #inOrder: Uint16Array
  #telling = false

  constructor(self: Peer, world: World) {
    this.#self = self
    this.#world = world
    const { pieces } = world.geometry
    this.held = new Bitfield(pieces)
    this.told = new Bitfield(pieces)
    this.#inOrder = new Uint16Array(pieces)
  }

  add(index: number): void {
    this.#inOrder[this.held.count] = index
    this.held.add(index)
    this.#world.held()
    if (this.#telling || this.subscribers.size === 0) return
    this.#telling = true
    const { haveMs, maxHaveMs } = DEFAULT_LIMITS
    const gatheringMs = Math.min(maxHaveMs, Math.max(haveMs, MS_PER_SUBSCRIBER * this.subscribers.size))
    this.#world.queue.put(this.#world.now + gatheringMs, TELL, this.#self.index, 0)
  }

  /** What was gathered leaves for all who lack some of it. */
  tell(): void {
    this.#telling = false
    if (!this.#self.alive) return
    let size = 0
    for (const { owner } of this.subscribers) if (!this.#needless(owner, this.told.count, this.held.count)) size++
    this.#world.queue.put(this.#leaves(size) + this.#world.scenario.latencyMs, TOLD, this.#self.index, this.held.count)
  }

  /** It is over: everybody is told that all is held. */
  tellAll(): void {
    this.#leaves(this.subscribers.size)
  }

  /** The first so many pieces that it came to hold are known to them now. */
  heard(count: number): void {
    const before = this.told.count
    this.#show(count)
    const { cpu, now } = this.#world
    const news = this.#inOrder.subarray(before, count)
    for (const edge of this.subscribers) {
      const { owner } = edge
      if (this.#needless(owner, before, count)) {
        if (edge.useful) for (const index of news) owner.downloading.cover.add(index)
        continue
      }
      cpu.work(owner.index, COSTS.receive, now)
      if (edge.state === 'connecting' || edge.state === 'asked') continue
      edge.load = this.#self.uplink.load
      owner.downloading.hear(edge, news)
    }
  }

  /** What came when nobody wanted to know is told to the first who does. */
  catchUp(): void {
    if (!this.#telling && this.subscribers.size <= 1) this.#show(this.held.count)
  }

  #show(count: number): void {
    for (let i = this.told.count; i < count; i++) this.told.add(this.#inOrder[i] as number)
  }

  #leaves(messages: number): number {
    this.#world.count('have', messages)
    return this.#world.cpu.work(this.#self.index, COSTS.send * messages, this.#world.now)
  }

  /** Who holds these pieces, as far as we know, will not ask for them. */
  #needless(other: Peer, first: number, end: number): boolean {
    if (this.#self.neighbours.get(other)?.useful !== true) return false
    for (let i = first; i < end; i++) if (!other.holdings.told.has(this.#inOrder[i] as number)) return false
    return true
  }
}
