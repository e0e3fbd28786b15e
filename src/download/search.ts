import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Digest } from '../../protocols/digest.ts'
import type { Candidate } from '../discovery/discovery.ts'
import { rank } from '../rank/rank.ts'
import { sample } from '../sample.ts'
import type { Neighbour, Swarm } from '../transfer/transfer.ts'
import type { Bell } from './bell.ts'
import type { Company } from './company.ts'
import type { Introduction } from './introduction.ts'
import type { Parts } from './parts.ts'
import { Settling } from './settling.ts'

/** The DHT gets this long to name a holder before the origin is gone to. */
const SETTLE_MS = 250
/** Who is in a swarm where nobody has anything for so long asks the DHT as well. */
const PATIENCE_MS = 5_000
/** A holder that is known has its chance first, where there is no other way: a look-up costs a dozen streams all over the mesh. */
const HOLDER_MS = 1_000

/** Connected peers that are asked when nobody is known to hold a blob: they may be of another zone, or no beacon of theirs was heard yet. */
const MAX_CONNECTED = 16

/** Brings the peers that discovery names into a swarm, and knows when they have had their chance. */
export class Search {
  /** Peers that are said to hold the whole. */
  readonly holders = new Set<string>()
  readonly #digest: Digest
  readonly #parts: Parts
  readonly #swarm: Swarm
  readonly #company: Company
  readonly #bell: Bell
  readonly #introduction: Introduction
  readonly #settling = new Settling()
  readonly #startedAt = performance.now()
  readonly #further = Promise.withResolvers<void>()
  readonly #hasOrigin: () => boolean
  #furtherAt: number | undefined
  #candidates: Candidate[] = []
  #over = false

  /** @param hasOrigin whether the blob can be imported here */
  constructor(
    digest: Digest,
    swarm: Swarm,
    company: Company,
    bell: Bell,
    introduction: Introduction,
    parts: Parts,
    hasOrigin: () => boolean,
  ) {
    this.#digest = digest
    this.#swarm = swarm
    this.#company = company
    this.#bell = bell
    this.#introduction = introduction
    this.#parts = parts
    this.#hasOrigin = hasOrigin
    introduction.mustImport = (options) => this.#nobodyElsewhere(options)
  }

  /** Whether every source of discovery has answered. */
  get over(): boolean {
    return this.#over
  }

  /** Whether the zone's peers had their chance to say that they hold it: what none of them has by then is to be imported. */
  settled(): boolean {
    const now = performance.now()
    const neighbours = this.#swarm.neighbours()
    if (this.#candidates.length > 0 || this.#settling.undecided(neighbours, this.holders, now)) return false
    const whole = neighbours.some(({ state }) => state === 'complete')
    if (!whole) this.#introduction.join()
    if (!whole && !this.#introduction.introduced) return false
    const look = this.#mayLook(neighbours, whole, now)
    if (look) this.#lookFurther(now)
    return !look || this.#lookedFurther(now)
  }

  /** Whether to ask the DHT before anything is to be imported: where a crowd wants a blob, few of it need to. */
  #mayLook(neighbours: readonly Neighbour[], whole: boolean, now: number): boolean {
    const triedMs = now - this.#startedAt
    if (!this.#hasOrigin()) return !whole || triedMs > HOLDER_MS
    const fed = neighbours.some(({ have }) => (have?.count ?? 0) > 0)
    return !fed && (this.#introduction.alone || triedMs > PATIENCE_MS)
  }

  async run(signal: AbortSignal): Promise<void> {
    const { discovery, bans, log } = this.#parts
    const unknown = this.#meetOthers(signal)
    try {
      for await (const candidate of discovery.find(this.#digest, { signal, further: this.#further.promise })) {
        if (bans.has(candidate.peer.id)) continue
        if (candidate.reason === 'holder') this.holders.add(candidate.peer.id)
        // those known at the same moment come in this node's order of preference: a swarm takes in a bounded number
        if (this.#candidates.push(candidate) === 1) queueMicrotask(() => this.#addRanked())
      }
    } catch (error) {
      if (!signal.aborted) log.warn({ digest: String(this.#digest), err: error }, 'discovery failed')
    } finally {
      await unknown
      this.#over = true
      this.#bell.ring()
    }
  }

  /** When nobody is known to hold it: whoever wants it too is worth knowing, and whom we are connected with is worth asking. */
  async #meetOthers(signal: AbortSignal): Promise<void> {
    await nextTurn()
    if (this.holders.size > 0 || signal.aborted) return
    this.#introduction.join()
    for (const peer of sample(this.#parts.connected(), MAX_CONNECTED, this.#parts.random)) {
      if (!this.#parts.bans.has(peer.id)) this.#company.stranger(peer)
    }
    this.#bell.ring()
  }

  #lookFurther(now: number): void {
    if (this.#furtherAt !== undefined) return
    this.#furtherAt = now
    this.#further.resolve()
    this.#company.open()
    setTimeout(() => this.#bell.ring(), SETTLE_MS + 1).unref()
  }

  #lookedFurther(now: number): boolean {
    return this.#over || (this.#furtherAt !== undefined && now - this.#furtherAt > SETTLE_MS)
  }

  /** @throws the signal's reason */
  async #nobodyElsewhere({ signal }: { signal: AbortSignal }): Promise<boolean> {
    if (this.#furtherAt !== undefined) return true
    const before = this.holders.size
    this.#lookFurther(performance.now())
    for (;;) {
      const [now, neighbours] = [performance.now(), this.#swarm.neighbours()]
      if (this.holders.size > before || neighbours.some(({ state }) => state === 'complete')) return false
      if (this.#lookedFurther(now) && !this.#settling.undecided(neighbours, this.holders, now)) return true
      await this.#bell.wait(signal)
    }
  }

  #addRanked(): void {
    const candidates = this.#candidates.map((c) => ({ ...c, bytesPerSecond: undefined, load: 0 }))
    this.#candidates = []
    for (const { peer } of rank(candidates, this.#parts.label)) {
      if (this.holders.has(peer.id)) this.#company.holder(peer)
      else this.#company.stranger(peer)
    }
    this.#bell.ring()
  }
}
