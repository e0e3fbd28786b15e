import type { Claim } from '../../protocols/claim/codec.ts'
import type { Host } from '../net/host.ts'
import type { Log } from '../telemetry/log.ts'

export interface Ban {
  readonly peerId: string
  readonly reason: string
  /** Milliseconds since the epoch. */
  readonly until: number
  /** Signed statements that are proven wrong by a digest. */
  readonly evidence: readonly Claim[]
}

const PROVEN_MS = 24 * 60 * 60 * 1000
const SUSPECTED_MS = 10 * 60 * 1000
const MAX_BANS = 1000

/** Peers that this node does not deal with. Kept in memory: a liar met again is caught again. */
export class Bans {
  readonly #host: Pick<Host, 'block' | 'unblock'>
  readonly #log: Log
  readonly #bans = new Map<string, Ban>()

  constructor(host: Pick<Host, 'block' | 'unblock'>, log: Log) {
    this.#host = host
    this.#log = log
  }

  /** With evidence the ban lasts a day, without it ten minutes. */
  add(peerId: string, reason: string, evidence: readonly Claim[] = []): void {
    const until = Date.now() + (evidence.length > 0 ? PROVEN_MS : SUSPECTED_MS)
    if (this.#bans.size >= MAX_BANS) this.lift(this.#bans.keys().next().value as string)
    this.#bans.set(peerId, { peerId, reason, until, evidence })
    this.#log.warn({ peerId, reason, until: new Date(until).toISOString(), claims: evidence.length }, 'peer banned')
    this.#host.block(peerId).catch((error: unknown) => this.#log.warn({ peerId, err: error }, 'closing a banned peer failed'))
  }

  has(peerId: string): boolean {
    return this.list().some((ban) => ban.peerId === peerId)
  }

  /** @returns whether it was banned */
  lift(peerId: string): boolean {
    this.#host.unblock(peerId)
    return this.#bans.delete(peerId)
  }

  /** Bans in force; those that have run out are lifted. */
  list(): readonly Ban[] {
    for (const ban of [...this.#bans.values()]) if (ban.until <= Date.now()) this.lift(ban.peerId)
    return [...this.#bans.values()]
  }
}
