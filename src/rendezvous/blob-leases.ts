import { createLease, expiryOf, type Lease } from './lease.ts'
import type { Ledger } from './ledger.ts'
import { Ledgers, mostVoted } from './ledgers.ts'
import {
  leasePieces,
  MAX_LEASES,
  MAX_NOTED_LEASES,
  MIN_PAUSE_MS,
  maxLiveLeases,
  nearlyDone,
  openPieces,
  orphanedMs,
  patienceMs,
  pauseMs,
  retryMs,
} from './policy.ts'
import type { Run } from './ranges.ts'

export interface Ask {
  readonly member: string
  readonly size: number
  /** In the order of urgency; none when the size is not known. */
  readonly runs: readonly Run[]
}

export type Decision = { readonly lease: Lease } | { readonly retryMs: number }

interface Member {
  size: number
  complete: boolean
  failures: number
  pausedUntil: number
  /** It has made everybody wait for its origin's sake once. */
  pausedAll: boolean
  readonly leases: Set<Lease>
}

/** Who imports what of one blob in one zone: all state and every decision; time and chance are arguments. */
export class BlobLeases {
  readonly #members = new Map<string, Member>()
  readonly #ledgers = new Ledgers()
  /** How many members give which size. */
  readonly #votes = new Map<number, number>()
  readonly #leases = new Map<number, Lease>()
  readonly #random: () => number
  readonly #nextId: () => number
  #pausedUntil = 0
  #active = false

  /** @param nextId numbers leases, from 1, uniquely among all blobs of a table */
  constructor(options: { random: () => number; nextId: () => number }) {
    this.#random = options.random
    this.#nextId = options.nextId
  }

  get members(): number {
    return this.#members.size
  }

  /** Leases have been granted or noted here. */
  get active(): boolean {
    return this.#active
  }

  /** What its ledgers take. */
  get trackedPieces(): number {
    return this.#ledgers.pieces
  }

  leases(): Iterable<Lease> {
    return this.#leases.values()
  }

  /** The pieces that a live lease still has to bring. */
  piecesOf(leaseId: number): number[] {
    const lease = this.#leases.get(leaseId)
    return (lease && this.#ledgers.get(lease.size)?.piecesOf(lease.id, lease)) ?? []
  }

  /** The size that most members give; 0 when nobody knows. */
  get size(): number {
    return mostVoted(this.#votes)
  }

  has(id: string): boolean {
    return this.#members.has(id)
  }

  /** Members who hold pieces that others may not see yet, and those who hold all. */
  holders(): Set<string> {
    const holders = new Set(this.#ledgers.importers())
    for (const [id, { complete }] of this.#members) if (complete) holders.add(id)
    return holders
  }

  /** @returns whether that changed what the size is taken for */
  join(id: string, size: number): boolean {
    const before = this.size
    const member = this.#member(id)
    member.complete = false
    this.#vote(member, size)
    return this.size !== before
  }

  /** It holds everything and wants nothing more. @returns whether pieces became free */
  complete(id: string): boolean {
    const member = this.#members.get(id)
    if (member === undefined) return false
    member.complete = true
    return this.#dropLeases(member)
  }

  /** It is gone, and what it brought with it. @returns whether pieces became free */
  leave(id: string): boolean {
    const member = this.#members.get(id)
    if (member === undefined) return false
    const freed = this.#dropLeases(member)
    this.#vote(member, 0)
    this.#members.delete(id)
    return this.#ledgers.forget(id) || freed
  }

  ask(ask: Ask, now: number): Decision {
    const member = this.#member(ask.member)
    this.#vote(member, ask.size)
    const pausedUntil = Math.max(this.#pausedUntil, member.pausedUntil)
    if (pausedUntil > now) return { retryMs: pausedUntil - now }
    const lease = this.#mayLease(member) ? this.#grant(ask, now) : undefined
    return lease === undefined ? { retryMs: retryMs(this.members, this.#random) } : { lease }
  }

  /** Notes what a member imports by the leave of another table. @returns `undefined` when others import all of it */
  hold(id: string, size: number, run: Run, now: number): Lease | undefined {
    const member = this.#member(id)
    this.#vote(member, size)
    if (this.#live(member) >= MAX_NOTED_LEASES) return undefined
    if (size === 0) return this.#openLease() === undefined ? this.#add(id, member, 0, { first: 0, last: 0 }, now) : undefined
    const ledger = this.#ledgers.open(size, this.#votes, now)
    if (ledger === undefined) return undefined
    const last = Math.min(run.last, run.first + leasePieces(ledger.geometry) - 1)
    return this.#lease(id, member, ledger, { first: run.first, last }, 'free', now)
  }

  /** The origin has answered a leaseholder. @returns whether others should look again */
  opened(id: string, leaseId: number, size: number, streams: boolean, now: number): boolean {
    const lease = this.#leaseOf(id, leaseId)
    const member = this.#members.get(id)
    if (lease === undefined || member === undefined || (lease.size > 0 && lease.size !== size)) return false
    const before = this.size
    const learnt = lease.size === 0
    lease.opened = true
    lease.heardAt = now
    if (size === 0) return this.#end(lease)
    this.#vote(member, size)
    const ledger = this.#ledgers.open(size, this.#votes, now)
    if (ledger === undefined) return this.#end(lease)
    ledger.streams = streams
    if (learnt) this.#settle(lease, ledger)
    if (streams) this.#widen(lease, ledger)
    return learnt || this.size !== before
  }

  alive(id: string, leaseId: number, now: number): void {
    const lease = this.#leaseOf(id, leaseId)
    if (lease === undefined) return
    lease.heardAt = now
    this.#revive(lease, now)
  }

  /** @returns whether another lease may be granted now */
  progress(id: string, leaseId: number, index: number, now: number): boolean {
    const lease = this.#leaseOf(id, leaseId)
    const member = this.#members.get(id)
    const ledger = lease && this.#ledgers.get(lease.size)
    if (lease === undefined || member === undefined || ledger === undefined) return false
    if (index < lease.first || index > lease.last) return false
    lease.opened = true
    lease.heardAt = now
    lease.progressedAt = now
    member.failures = 0
    this.#revive(lease, now)
    if (!ledger.imported(lease.id, index, id, now)) return false
    if (--lease.remaining === 0) this.#end(lease)
    return nearlyDone(lease) && this.#mayMore(lease.size)
  }

  /** @returns whether pieces became free */
  end(id: string, leaseId: number, outcome: { done: boolean; retryAfterMs: number }, now: number): boolean {
    const lease = this.#leaseOf(id, leaseId)
    const member = this.#members.get(id)
    if (lease === undefined || member === undefined) return false
    if (!outcome.done) this.#failed(member, outcome.retryAfterMs, now)
    return this.#end(lease)
  }

  /** Takes back what shows no life. @returns whether pieces became free */
  expire(now: number): boolean {
    let freed = false
    for (const lease of this.#leases.values()) {
      if (lease.lapsed || expiryOf(lease) > now) continue
      lease.lapsed = true
      this.#release(lease)
      freed = true
      const member = this.#members.get(lease.member)
      if (member !== undefined) this.#failed(member, 0, now)
    }
    return freed
  }

  /** When `expire` next has something to do. */
  nextExpiry(): number | undefined {
    let next: number | undefined
    for (const lease of this.#leases.values())
      if (!lease.lapsed) next = Math.min(next ?? Number.POSITIVE_INFINITY, expiryOf(lease))
    return next
  }

  #member(id: string): Member {
    let member = this.#members.get(id)
    if (member === undefined) {
      member = { size: 0, complete: false, failures: 0, pausedUntil: 0, pausedAll: false, leases: new Set() }
      this.#members.set(id, member)
    }
    return member
  }

  /** What a member says the size is; 0 takes its word back. */
  #vote(member: Member, size: number): void {
    if (member.size === size) return
    const before = (this.#votes.get(member.size) ?? 0) - 1
    if (before > 0) this.#votes.set(member.size, before)
    else this.#votes.delete(member.size)
    member.size = size
    if (size > 0) this.#votes.set(size, (this.#votes.get(size) ?? 0) + 1)
  }

  #mayLease(member: Member): boolean {
    const live = [...member.leases].filter((lease) => !lease.lapsed)
    return live.length < MAX_LEASES && live.every(nearlyDone)
  }

  /** Whether the origin has room for another importer of a blob of this size: a lie about it keeps nobody else waiting. */
  #mayMore(size: number): boolean {
    let live = 0
    for (const lease of this.#leases.values()) if (lease.size === size && !lease.lapsed && !nearlyDone(lease)) live++
    return live < maxLiveLeases(this.members)
  }

  #grant({ member: id, size: asked, runs }: Ask, now: number): Lease | undefined {
    const member = this.#member(id)
    const size = asked > 0 ? asked : this.size
    if (size === 0) return this.#openLease() === undefined ? this.#add(id, member, 0, { first: 0, last: 0 }, now) : undefined
    const ledger = this.#ledgers.open(size, this.#votes, now)
    if (ledger === undefined || this.#streaming(size) || !this.#mayMore(size)) return undefined
    const { pieces } = ledger.geometry
    const wanted = asked > 0 ? runs : [{ first: 0, last: pieces - 1 }]
    const patience = asked > 0 ? orphanedMs(this.members) : Number.POSITIVE_INFINITY
    const run = ledger.find(wanted, id, leasePieces(ledger.geometry), now, patience)
    if (run === undefined) return undefined
    if (!ledger.streams) return this.#lease(id, member, ledger, run, 'all', now)
    const lease = this.#lease(id, member, ledger, run, 'all', now)
    if (lease !== undefined) this.#widen(lease, ledger)
    return lease
  }

  #lease(id: string, member: Member, ledger: Ledger, run: Run, which: 'all' | 'free', now: number): Lease | undefined {
    const lease = this.#add(id, member, ledger.geometry.size, run, now)
    lease.granted = ledger.take(lease.id, run, which)
    lease.remaining = lease.granted
    if (lease.granted > 0) return lease
    this.#end(lease)
    return undefined
  }

  #add(id: string, member: Member, size: number, run: Run, now: number): Lease {
    for (const old of member.leases) if (old.lapsed && member.leases.size >= MAX_NOTED_LEASES) this.#end(old)
    const lease = createLease(this.#nextId(), id, size, run, now)
    this.#leases.set(lease.id, lease)
    member.leases.add(lease)
    this.#active = true
    return lease
  }

  /** An open lease becomes one of the first pieces. */
  #settle(lease: Lease, ledger: Ledger): void {
    lease.size = ledger.geometry.size
    lease.last = openPieces(ledger.geometry) - 1
    if (!lease.lapsed) lease.granted = ledger.take(lease.id, lease, 'free')
    lease.remaining = lease.granted
  }

  /** The origin gives all or nothing: its importer takes what is left. */
  #widen(lease: Lease, ledger: Ledger): void {
    lease.streams = true
    lease.last = ledger.geometry.pieces - 1
    if (lease.lapsed) return
    const more = ledger.take(lease.id, lease, 'free')
    lease.granted += more
    lease.remaining += more
  }

  /** What has lapsed and shows life gets back what nobody else has taken. */
  #revive(lease: Lease, now: number): void {
    if (!lease.lapsed) return
    const ledger = this.#ledgers.get(lease.size)
    if (ledger === undefined ? this.#openLease() !== undefined : lease.streams && this.#streaming(lease.size)) return
    if (now - lease.progressedAt > patienceMs(ledger?.geometry.pieceBytes ?? 0)) return
    lease.lapsed = false
    if (ledger !== undefined) lease.remaining = ledger.take(lease.id, lease, 'free')
  }

  #failed(member: Member, retryAfterMs: number, now: number): void {
    member.failures++
    member.pausedUntil = Math.max(member.pausedUntil, now + Math.max(retryAfterMs, pauseMs(member.failures)))
    if (retryAfterMs < MIN_PAUSE_MS || member.pausedAll) return
    member.pausedAll = true
    this.#pausedUntil = Math.max(this.#pausedUntil, now + retryAfterMs)
  }

  #dropLeases(member: Member): boolean {
    let freed = false
    for (const lease of member.leases) freed = this.#end(lease) || freed
    return freed
  }

  #end(lease: Lease): boolean {
    this.#leases.delete(lease.id)
    this.#members.get(lease.member)?.leases.delete(lease)
    return !lease.lapsed && this.#release(lease)
  }

  #release(lease: Lease): boolean {
    return lease.size === 0 || (this.#ledgers.get(lease.size)?.release(lease.id, lease) ?? 0) > 0 || lease.streams
  }

  #live(member: Member): number {
    let live = 0
    for (const lease of member.leases) if (!lease.lapsed) live++
    return live
  }

  #leaseOf(id: string, leaseId: number): Lease | undefined {
    const lease = this.#leases.get(leaseId)
    return lease?.member === id ? lease : undefined
  }

  #openLease(): Lease | undefined {
    for (const lease of this.#leases.values()) if (lease.size === 0 && !lease.lapsed) return lease
    return undefined
  }

  #streaming(size: number): boolean {
    for (const lease of this.#leases.values()) if (lease.streams && lease.size === size && !lease.lapsed) return true
    return false
  }
}
