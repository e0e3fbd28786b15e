import type { Grant } from '../../src/rendezvous/rendezvous.ts'
import { COSTS } from './costs.ts'
import type { Transfer } from './network.ts'
import type { Peer } from './peer.ts'
import type { World } from './world.ts'

/** As src/download/importer.ts, introduction.ts, search.ts and settling.ts. */
const MAX_RUNS = 2
const ASK_AGAIN_MS = 1_000
const SETTLE_MS = 250
const MEMBER_GRACE_MS = 250
const HOLDER_GRACE_MS = 1_500

/** What one host imports from the origin, by the leave of the rendezvous: as src/download/importer.ts does, without bytes. */
export class Importing {
  readonly #self: Peer
  readonly #world: World
  readonly #fetches = new Set<Fetch>()
  readonly #signal = new AbortController().signal
  #runs = 0
  #asking = false
  #askAt = 0

  constructor(self: Peer, world: World) {
    this.#self = self
    this.#world = world
  }

  /** The rendezvous says that something may have changed. */
  called(): void {
    this.#askAt = 0
    const { member, downloading } = this.#self
    if (member?.size !== undefined) downloading.sizeKnown = true
    if (this.#self.active) downloading.wake()
  }

  tick(): void {
    for (const fetch of this.#fetches) fetch.alive()
  }

  pump(): void {
    const { downloading } = this.#self
    const { now, scenario } = this.#world
    if (downloading.uncovered === 0 || this.#asking || now < this.#askAt || this.#runs >= MAX_RUNS) return
    if (now >= scenario.originDiesMs || !this.#settled()) return
    const orphans = downloading.sizeKnown ? this.#orphans() : []
    if (downloading.sizeKnown && orphans.length === 0) return
    this.#runs++
    this.#asking = true
    this.#askAt = now + ASK_AGAIN_MS
    this.#world.stirred = true
    void this.#ask(orphans)
  }

  landed(index: number): void {
    for (const fetch of [...this.#fetches]) fetch.landed(index)
  }

  stop(): void {
    for (const fetch of [...this.#fetches]) fetch.fail()
  }

  /** Whether it still has to be imported. */
  orphaned(index: number): boolean {
    const { downloading, held } = this.#self
    if (held.has(index) || downloading.cover[index] !== 0) return false
    return downloading.attempts.get(index)?.some(({ edge }) => edge === undefined) !== true
  }

  over(fetch: Fetch): void {
    this.#fetches.delete(fetch)
    this.#runs--
    this.#self.downloading.wake()
  }

  async #ask(orphans: readonly number[]): Promise<void> {
    const { member, downloading } = this.#self
    const { geometry } = this.#world
    const size = downloading.sizeKnown ? geometry.size : undefined
    const grant = await member?.ask(orphans, size, { signal: this.#signal })
    this.#asking = false
    if (grant === undefined || !this.#self.active) {
      this.#runs--
      downloading.wake()
      return
    }
    this.#askAt = 0
    const fetch = new Fetch(this.#self, this.#world, grant)
    this.#fetches.add(fetch)
    downloading.wake()
  }

  #orphans(): number[] {
    const { downloading } = this.#self
    const orphans = downloading.demand.missing((index) => !this.orphaned(index))
    const next = downloading.demand.earliest ?? 0
    const at = orphans.findIndex((index) => index >= next)
    return at <= 0 ? orphans : [...orphans.slice(at), ...orphans.slice(0, at)]
  }

  #settled(): boolean {
    const { now } = this.#world
    if (!this.#self.introduced || now - this.#self.startedAt <= SETTLE_MS) return false
    for (const { state, since } of this.#self.edges.values()) {
      if (state === 'connecting' && now - since < MEMBER_GRACE_MS) return false
      if (state === 'asked' && now - since < HOLDER_GRACE_MS) return false
    }
    return true
  }
}

/** One request to the origin: the pieces of a grant, one after the other. */
class Fetch implements Transfer {
  readonly #self: Peer
  readonly #world: World
  readonly #grant: Grant
  /** Sent, and not yet held. */
  readonly #landing = new Set<number>()
  #index = -1
  #flow = -1
  #begun = false
  #over = false

  constructor(self: Peer, world: World, grant: Grant) {
    this.#self = self
    this.#world = world
    this.#grant = grant
    world.originRequests++
    const { latencyMs, originThinksMs, originDiesMs } = world.scenario
    world.after(2 * latencyMs + originThinksMs, () => {
      if (this.#over) return
      if (world.now >= originDiesMs) this.fail()
      else this.#answered()
    })
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
      this.#self.downloading.end(this.#index, false)
    }
    this.#end(false)
  }

  sent(): number {
    const world = this.#world
    const index = this.#index
    world.originBytes += world.bytesOf(index)
    world.originLastMs = world.now
    this.#landing.add(index)
    world.after(world.scenario.latencyMs, () => {
      if (!this.#self.active) return
      this.#self.downloading.end(index, true)
      this.#self.downloading.land(index, COSTS.importedMiB)
    })
    if (this.#next()) return world.bytesOf(this.#index)
    this.#flow = -1
    return 0
  }

  #answered(): void {
    const { downloading } = this.#self
    this.#world.stirred = true
    this.#grant.sized(this.#world.geometry.size)
    downloading.sizeKnown = true
    if (this.#next()) {
      const world = this.#world
      this.#flow = world.network.begin(this, world.origin, this.#self.index, world.bytesOf(this.#index), world.now)
    } else this.#end(true)
  }

  /** The next piece of the grant that is still needed. */
  #next(): boolean {
    const { first, last } = this.#grant
    let index = this.#begun ? this.#index + 1 : first
    while (index <= last && !this.#self.importing.orphaned(index)) this.#grant.progress(index++, this.#world.geometry.size)
    if (index > last) return false
    this.#begun = true
    this.#index = index
    this.#self.downloading.begin(index)
    return true
  }

  #end(ok: boolean): void {
    if (this.#over) return
    this.#over = true
    this.#world.stirred = true
    this.#grant.end({ ok })
    this.#self.importing.over(this)
  }
}
