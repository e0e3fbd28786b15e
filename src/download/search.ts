import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Digest } from '../../protocols/digest.ts'
import type { Candidate } from '../discovery/discovery.ts'
import { rank } from '../rank/rank.ts'
import { sample } from '../sample.ts'
import type { Swarm } from '../transfer/transfer.ts'
import type { Bell } from './bell.ts'
import type { Introduction } from './introduction.ts'
import type { Parts } from './parts.ts'
import { Settling } from './settling.ts'

/** The DHT gets this long to name a holder before the origin is gone to. */
const SETTLE_MS = 250
/** Who is in a swarm where nobody has anything for so long asks the DHT as well. */
const PATIENCE_MS = 2_000

/** Connected peers that are asked when nobody is known to hold a blob: they may be of another zone, or no beacon of theirs was heard yet. */
const MAX_CONNECTED = 16

/** Brings the peers that discovery names into a swarm, and knows when they have had their chance. */
export class Search {
  /** Peers that are said to hold the whole. */
  readonly holders = new Set<string>()
  readonly #digest: Digest
  readonly #parts: Parts
  readonly #swarm: Swarm
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
  constructor(digest: Digest, swarm: Swarm, bell: Bell, introduction: Introduction, parts: Parts, hasOrigin: () => boolean) {
    this.#digest = digest
    this.#swarm = swarm
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
    if (this.#candidates.length > 0 || this.#settling.undecided(this.#swarm.neighbours(), this.holders, now)) return false
    this.#introduction.join()
    if (!this.#introduction.introduced) return false
    // of a swarm, those ask the DHT who are to import
    const idle = now - this.#startedAt > PATIENCE_MS && !this.#swarm.neighbours().some(({ have }) => (have?.count ?? 0) > 0)
    const own = this.#introduction.alone || !this.#hasOrigin() || idle
    if (own) this.#lookFurther(now)
    return !own || this.#lookedFurther(now)
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
      if (!this.#parts.bans.has(peer.id)) this.#swarm.add(peer)
    }
    this.#bell.ring()
  }

  #lookFurther(now: number): void {
    this.#furtherAt ??= now
    this.#further.resolve()
  }

  #lookedFurther(now: number): boolean {
    return this.#over || (this.#furtherAt !== undefined && now - this.#furtherAt > SETTLE_MS)
  }

  /** @throws the signal's reason */
  async #nobodyElsewhere({ signal }: { signal: AbortSignal }): Promise<boolean> {
    const before = this.holders.size
    this.#lookFurther(performance.now())
    while (this.holders.size === before) {
      if (this.#lookedFurther(performance.now())) return true
      await this.#bell.wait(signal)
    }
    return false
  }

  #addRanked(): void {
    const candidates = this.#candidates.map((c) => ({ ...c, bytesPerSecond: undefined, load: 0 }))
    this.#candidates = []
    for (const { peer } of rank(candidates, this.#parts.label)) this.#swarm.add(peer)
    this.#bell.ring()
  }
}
