import type { Claim } from '../../protocols/claim/codec.ts'
import { HASH_BYTES } from '../../protocols/claim/limits.ts'
import { type Clock, SYSTEM_CLOCK } from '../clock.ts'
import type { Host } from '../net/host.ts'
import type { Log } from '../telemetry/log.ts'
import type { BanFolder } from './ban-folder.ts'

export interface Ban {
  readonly peerId: string
  readonly reason: string
  /** Who said so: the operator's are the last to go when there are too many. */
  readonly by: 'node' | 'operator'
  /** Milliseconds since the epoch. */
  readonly since: number
  readonly until: number
  /** Signed statements that are proven wrong by a digest, or by each other. */
  readonly evidence: readonly Claim[]
}

export interface BansOptions {
  readonly host: Pick<Host, 'block' | 'unblock'>
  readonly log: Log
  /** Where they outlive the process; `undefined` for a node in memory. */
  readonly folder?: BanFolder | undefined
  readonly clock?: Clock
  /** Milliseconds since the epoch. */
  readonly wallClock?: () => number
}

const PROVEN_MS = 24 * 60 * 60 * 1000
/** For what has another explanation: a bad disk, or an origin that lied to an importer. */
const SUSPECTED_MS = 10 * 60 * 1000
export const MAX_BANS = 1_000
/** Statements kept, over all bans: the oldest bans lose theirs first, and stay in force. */
const MAX_EVIDENCE_BYTES = 8 << 20
/** A statement without its hashes. */
const STATEMENT_BYTES = 256
const MAX_REASON_CHARACTERS = 200
/** Timers are no longer than this. */
const MAX_SLEEP_MS = 60 * 60 * 1000

/** Peers that this node does not deal with. They outlive the process, with their evidence and their expiry. */
export class Bans implements AsyncDisposable {
  readonly #options: Required<Omit<BansOptions, 'folder'>> & Pick<BansOptions, 'folder'>
  /** In the order of their age. */
  readonly #bans = new Map<string, Ban>()
  readonly #listeners = new Set<(ban: Ban) => void>()
  #evidenceBytes = 0
  #cancelExpiry: (() => void) | undefined
  #closed = false

  constructor(options: BansOptions) {
    this.#options = { clock: SYSTEM_CLOCK, wallClock: Date.now, ...options }
  }

  /** Those that were kept are in force again. */
  async load(): Promise<void> {
    const kept = (await this.#options.folder?.load()) ?? []
    for (const ban of kept.sort((a, b) => a.since - b.since)) {
      if (ban.until <= this.#options.wallClock()) this.#options.folder?.remove(ban.peerId)
      else this.#enforce(ban)
    }
    if (this.#bans.size > 0) this.#options.log.info({ bans: this.#bans.size }, 'bans of a former run are in force')
  }

  /**
   * A day for whom a statement about the whole blob proves a liar. Ten minutes otherwise: an importer may have been lied to by its origin,
   * and who has no statement against it may have a bad disk.
   */
  add(peerId: string, reason: string, evidence: readonly Claim[] = []): void {
    const proven = evidence.some((claim) => claim.kind === 'complete')
    this.#impose(peerId, reason, 'node', proven ? PROVEN_MS : SUSPECTED_MS, evidence)
  }

  /** By the operator's word. Resolves when it would outlive a crash. */
  async order(peerId: string, reason: string, forMs: number): Promise<Ban> {
    const ban = this.#impose(peerId, reason, 'operator', forMs, [])
    await this.#options.folder?.settled()
    return ban
  }

  has(peerId: string): boolean {
    return this.get(peerId) !== undefined
  }

  get(peerId: string): Ban | undefined {
    const ban = this.#bans.get(peerId)
    return ban !== undefined && ban.until > this.#options.wallClock() ? ban : undefined
  }

  /** By the operator's word: the peer may come back at once. Resolves when that would outlive a crash. @returns whether it was banned */
  async lift(peerId: string): Promise<boolean> {
    if (!this.has(peerId)) return false
    this.#end(peerId, 'ban lifted')
    await this.#options.folder?.settled()
    return true
  }

  /** Bans in force. */
  list(): readonly Ban[] {
    const now = this.#options.wallClock()
    return [...this.#bans.values()].filter((ban) => ban.until > now)
  }

  /** Calls with each ban that this node imposes from now on, or that it has learnt more about; returns an unsubscribe. */
  onBan(listener: (ban: Ban) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    this.#cancelExpiry?.()
    this.#listeners.clear()
    await this.#options.folder?.settled()
  }

  #impose(peerId: string, reason: string, by: Ban['by'], forMs: number, evidence: readonly Claim[]): Ban {
    const { log, folder, wallClock } = this.#options
    const since = wallClock()
    const fresh = { peerId, reason: reason.slice(0, MAX_REASON_CHARACTERS), by, since, until: since + forMs, evidence }
    const ban = merged(this.get(peerId), fresh)
    this.#makeRoom(peerId)
    this.#enforce(ban)
    log.warn({ peerId, reason: ban.reason, by, until: new Date(ban.until).toISOString(), claims: evidence.length }, 'peer banned')
    folder?.write(ban)
    this.#thinEvidence()
    for (const listener of this.#listeners) listener(ban)
    return ban
  }

  #enforce(ban: Ban): void {
    const { host, log } = this.#options
    const { peerId } = ban
    this.#forget(peerId)
    this.#bans.set(peerId, ban)
    this.#evidenceBytes += bytesOf(ban)
    host.block(peerId).catch((error: unknown) => log.warn({ peerId, err: error }, 'closing a banned peer failed'))
    this.#wakeForNext()
  }

  #end(peerId: string, why: string): void {
    const { host, log, folder } = this.#options
    this.#forget(peerId)
    host.unblock(peerId)
    folder?.remove(peerId)
    log.info({ peerId }, why)
  }

  #forget(peerId: string): void {
    const ban = this.#bans.get(peerId)
    if (ban === undefined) return
    this.#bans.delete(peerId)
    this.#evidenceBytes -= bytesOf(ban)
  }

  /** The one that ends first goes, an operator's only when there is no other. */
  #makeRoom(peerId: string): void {
    if (this.#bans.size < MAX_BANS || this.#bans.has(peerId)) return
    const bans = [...this.#bans.values()]
    const own = bans.filter((ban) => ban.by === 'node')
    const first = (own.length > 0 ? own : bans).reduce((a, b) => (b.until < a.until ? b : a))
    this.#end(first.peerId, 'ban dropped: there are too many')
  }

  #thinEvidence(): void {
    for (const ban of this.#bans.values()) {
      if (this.#evidenceBytes <= MAX_EVIDENCE_BYTES) return
      if (ban.evidence.length === 0) continue
      const thin = { ...ban, evidence: [] }
      this.#evidenceBytes -= bytesOf(ban)
      this.#bans.set(ban.peerId, thin)
      this.#options.folder?.write(thin)
    }
  }

  #wakeForNext(): void {
    this.#cancelExpiry?.()
    if (this.#closed || this.#bans.size === 0) return
    const { clock, wallClock } = this.#options
    const next = Math.min(...[...this.#bans.values()].map((ban) => ban.until))
    this.#cancelExpiry = clock.after(Math.min(MAX_SLEEP_MS, Math.max(0, next - wallClock())), () => {
      const now = wallClock()
      for (const ban of [...this.#bans.values()]) if (ban.until <= now) this.#end(ban.peerId, 'ban is over')
      this.#wakeForNext()
    })
  }
}

/** A new ban of this node's own never shortens an old one; what was proven before is kept. */
function merged(old: Ban | undefined, fresh: Ban): Ban {
  if (old === undefined) return fresh
  const evidence = fresh.evidence.length > 0 ? fresh.evidence : old.evidence
  if (fresh.by === 'operator') return { ...fresh, evidence }
  const lasting = old.by === 'operator' || old.until > fresh.until ? old : fresh
  return { ...lasting, until: Math.max(old.until, fresh.until), evidence }
}

function bytesOf({ evidence }: Ban): number {
  return evidence.reduce((sum, claim) => sum + STATEMENT_BYTES + claim.hashes.length * HASH_BYTES, 0)
}
