import type { Reach } from '../../src/download/reaches.ts'
import type { Grant } from '../../src/rendezvous/rendezvous.ts'
import type { Transfer } from './network.ts'
import type { Peer } from './peer.ts'
import type { World } from './world.ts'

/** One request to the origin: the pieces of a grant, one after the other. */
export class Fetch implements Transfer {
  readonly #self: Peer
  readonly #world: World
  readonly #grant: Grant
  /** Sent, and not yet held. */
  readonly #landing = new Set<number>()
  #index = -1
  #flow = -1
  #begun = false
  #reach: Reach | undefined
  #over = false

  constructor(self: Peer, world: World, grant: Grant) {
    this.#self = self
    this.#world = world
    this.#grant = grant
    const { latencyMs, originThinksMs } = world.scenario
    world.originRequests++
    world.after(2 * latencyMs + originThinksMs, () => world.originPlaces.take(() => this.#answered()))
  }

  alive(): void {
    if (this.#flow >= 0) this.#grant.alive()
  }

  landed(index: number): void {
    if (!this.#landing.delete(index)) return
    this.#world.stirred = true
    this.#grant.progress(index, this.#world.geometry.size)
    if (this.#flow < 0 && this.#landing.size === 0) this.#end(true)
  }

  fail(): void {
    if (this.#over) return
    if (this.#flow >= 0) {
      this.#world.network.end(this.#flow, this.#world.now)
      this.#flow = -1
      this.#world.originPlaces.give()
      this.#self.downloading.importFailed(this.#index)
    }
    this.#end(false)
  }

  sent(): number {
    const world = this.#world
    const index = this.#index
    world.originBytes += world.bytesOf(index)
    world.originLastMs = world.now
    world.sentByOrigin(index)
    this.#landing.add(index)
    if (this.#reach !== undefined) this.#reach.left = this.#reach.last - index
    world.after(world.scenario.latencyMs, () => {
      if (!this.#self.active) return
      this.#self.importing.imported.add(index)
      if (!this.#self.downloading.imported(index)) this.landed(index)
    })
    if (this.#next()) return world.bytesOf(this.#index)
    this.#flow = -1
    world.originPlaces.give()
    return 0
  }

  /** @returns whether it makes use of its place at the origin */
  #answered(): boolean {
    if (this.#over) return false
    const { downloading } = this.#self
    if (this.#world.originGone) {
      this.fail()
      return false
    }
    this.#world.stirred = true
    const { size, pieceBytes } = this.#world.geometry
    this.#grant.sized(size)
    const { first, last } = this.#grant
    this.#reach = this.#self.importing.underway.add(first, Math.min(size, (last + 1) * pieceBytes))
    downloading.sizeKnown = true
    if (this.#next()) {
      const world = this.#world
      this.#flow = world.network.begin(this, world.origin, this.#self.index, world.bytesOf(this.#index), world.now)
      return true
    }
    this.#end(true)
    return false
  }

  /** The next piece of the grant that is still needed. */
  #next(): boolean {
    const { first, last } = this.#grant
    this.#world.stirred = true
    let index = this.#begun ? this.#index + 1 : first
    while (index <= last && !this.#self.importing.orphaned(index)) this.#grant.progress(index++, this.#world.geometry.size)
    if (index > last) return false
    this.#begun = true
    this.#index = index
    this.#self.downloading.beginImport(index)
    return true
  }

  #end(ok: boolean): void {
    if (this.#over) return
    this.#over = true
    this.#world.stirred = true
    this.#grant.end({ ok })
    if (this.#reach !== undefined) this.#self.importing.underway.delete(this.#reach)
    this.#self.importing.over(this)
  }
}
