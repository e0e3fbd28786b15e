import type { Digest } from '../../protocols/digest.ts'
import type { Candidate } from '../discovery/discovery.ts'
import { rank } from '../rank/rank.ts'
import type { Swarm } from '../transfer/transfer.ts'
import type { Bell } from './bell.ts'
import type { Introduction } from './introduction.ts'
import type { Parts } from './parts.ts'
import { Settling } from './settling.ts'

/** The DHT gets this long to name a holder before the origin is gone to. */
const SETTLE_MS = 250

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
  #candidates: Candidate[] = []
  #over = false

  constructor(digest: Digest, swarm: Swarm, bell: Bell, introduction: Introduction, parts: Parts) {
    this.#digest = digest
    this.#swarm = swarm
    this.#bell = bell
    this.#introduction = introduction
    this.#parts = parts
  }

  /** Whether every source of discovery has answered. */
  get over(): boolean {
    return this.#over
  }

  /** Whether peers had their chance to say that they hold it: what nobody has by then is the origin's. */
  settled(): boolean {
    const now = performance.now()
    if (this.#candidates.length > 0 || this.#settling.undecided(this.#swarm.neighbours(), this.holders, now)) return false
    if (!this.#over && now - this.#startedAt <= SETTLE_MS) return false
    this.#introduction.join()
    return this.#introduction.introduced
  }

  async run(signal: AbortSignal): Promise<void> {
    const { discovery, bans, log } = this.#parts
    // nobody is known to hold it: whoever wants it too is worth knowing
    const unknown = setImmediate(() => {
      if (this.holders.size === 0 && !signal.aborted) this.#introduction.join()
    })
    try {
      for await (const candidate of discovery.find(this.#digest, { signal })) {
        if (bans.has(candidate.peer.id)) continue
        if (candidate.reason === 'holder') this.holders.add(candidate.peer.id)
        // those known at the same moment come in this node's order of preference: a swarm takes in a bounded number
        if (this.#candidates.push(candidate) === 1) queueMicrotask(() => this.#addRanked())
      }
    } catch (error) {
      if (!signal.aborted) log.warn({ digest: String(this.#digest), err: error }, 'discovery failed')
    } finally {
      if (signal.aborted) clearImmediate(unknown)
      this.#over = true
      this.#bell.ring()
    }
  }

  #addRanked(): void {
    const candidates = this.#candidates.map((c) => ({ ...c, bytesPerSecond: undefined, load: 0 }))
    this.#candidates = []
    for (const { peer } of rank(candidates, this.#parts.label)) this.#swarm.add(peer)
    this.#bell.ring()
  }
}
