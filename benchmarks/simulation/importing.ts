import { Reaches } from '../../src/download/reaches.ts'
import type { Grant } from '../../src/rendezvous/rendezvous.ts'
import { Fetch } from './fetch.ts'
import { Looks } from './looks.ts'
import { MIRRORED } from './mirrored.ts'
import type { Peer } from './peer.ts'
import type { World } from './world.ts'

const { MAX_RUNS, ASK_AGAIN_MS, SETTLE_MS, MEMBER_GRACE_MS, HOLDER_GRACE_MS } = MIRRORED

/** What one host imports from the origin, by the leave of the rendezvous: as src/download/importer.ts does, without bytes. */
export class Importing {
  readonly #self: Peer
  readonly #world: World
  readonly #fetches = new Set<Fetch>()
  readonly #looks: Looks
  /** What requests will bring. */
  readonly underway: Reaches
  /** Pieces that this host itself imported. */
  readonly imported = new Set<number>()
  readonly #signal = new AbortController().signal
  #runs = 0
  #asking = false
  #askAt = 0

  constructor(self: Peer, world: World) {
    this.#self = self
    this.#world = world
    this.#looks = new Looks(self, world)
    this.underway = new Reaches(world.geometry)
  }

  /** The rendezvous says that something may have changed. */
  called(): void {
    this.#askAt = 0
    const { downloading, attendance } = this.#self
    if (attendance.member?.size !== undefined) downloading.sizeKnown = true
    if (this.#self.active) downloading.wake()
  }

  tick(): void {
    for (const fetch of this.#fetches) fetch.alive()
    this.#looks.tick()
  }

  /** Whether another request may be made, of an origin that is known to answer some. */
  get hasRoom(): boolean {
    return this.imported.size > 0 && this.#runs < MAX_RUNS && !this.#world.originGone
  }

  begin(grant: Grant): void {
    this.#runs++
    this.#fetches.add(new Fetch(this.#self, this.#world, grant))
  }

  pump(): void {
    const { downloading } = this.#self
    const { now } = this.#world
    if (downloading.cover.orphans === 0 || this.#asking || now < this.#askAt || this.#runs >= this.#mostRuns) return
    if (this.#world.originGone || !this.#settled()) return
    const orphans = downloading.sizeKnown ? this.#orphans() : []
    if (downloading.sizeKnown && orphans.length === 0) return
    this.#runs++
    this.#asking = true
    this.#askAt = now + ASK_AGAIN_MS
    this.#world.stirred = true
    void this.#ask(orphans)
  }

  /** A host alone makes the next request when little is left of the last. */
  get #mostRuns(): number {
    return this.#self.attendance.alone && !this.underway.nearlyDone ? 1 : MAX_RUNS
  }

  landed(index: number): void {
    for (const fetch of [...this.#fetches]) fetch.landed(index)
  }

  stop(): void {
    for (const fetch of [...this.#fetches]) fetch.fail()
  }

  /** Whether it still has to be imported. */
  orphaned(index: number): boolean {
    const { attempts, audited, cover } = this.#self.downloading
    if (this.#self.holdings.held.has(index) || (cover.has(index) && !audited.has(index))) return false
    return attempts.get(index)?.includes('origin') !== true
  }

  over(fetch: Fetch): void {
    this.#fetches.delete(fetch)
    this.#runs--
    this.#self.downloading.wake()
  }

  async #ask(orphans: readonly number[]): Promise<void> {
    const { downloading, attendance } = this.#self
    const size = downloading.sizeKnown ? this.#world.geometry.size : undefined
    const grant = await attendance.member?.ask(orphans, size, { signal: this.#signal })
    this.#asking = false
    if (grant === undefined || !this.#self.active) {
      this.#runs--
      downloading.wake()
      return
    }
    this.#askAt = 0
    this.#fetches.add(new Fetch(this.#self, this.#world, grant))
    downloading.wake()
  }

  #orphans(): number[] {
    const { downloading } = this.#self
    const orphans = downloading.demand.missing((index) => !this.orphaned(index) || this.underway.covers(index))
    const next = downloading.demand.earliest ?? 0
    const at = orphans.findIndex((index) => index >= next)
    return at <= 0 ? orphans : [...orphans.slice(at), ...orphans.slice(0, at)]
  }

  #settled(): boolean {
    const { now } = this.#world
    if (!this.#self.attendance.introduced || now - this.#self.startedAt <= SETTLE_MS) return false
    for (const { state, since } of this.#self.neighbours.list) {
      if (state === 'connecting' && now - since < MEMBER_GRACE_MS) return false
      if (state === 'asked' && now - since < HOLDER_GRACE_MS) return false
    }
    return true
  }
}
