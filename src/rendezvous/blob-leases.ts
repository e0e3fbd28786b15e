import { expiryOf, type Lease, settle, widen } from './lease.ts'
import { LeaseBook } from './lease-book.ts'
import type { Ledger } from './ledger.ts'
import { Ledgers } from './ledgers.ts'
import { HELD_BACK_MS, leasePieces, loneLeasePieces, MAX_NOTED_LEASES, orphanedMs, patienceMs, retryMs } from './policy.ts'
import { Precedence } from './precedence.ts'
import type { Run } from './ranges.ts'
import { type Member, Roll } from './roll.ts'

export interface Ask {
  readonly member: string
  readonly size: number
  /** In the order of urgency; none when the size is not known. */
  readonly runs: readonly Run[]
}

export type Decision = { readonly lease: Lease } | { readonly retryMs: number }

/** Who imports what of one blob in one zone: all state and every decision; time and chance are arguments. */
export class BlobLeases {
  readonly #roll = new Roll()
  readonly #ledgers = new Ledgers()
  readonly #leases: LeaseBook
  readonly #precedence: Precedence
  readonly #random: () => number
  #active = false
  #noted = false

  /**
   * @param nextId numbers leases, from 1, uniquely among all blobs of a table
   * @param firstLive leases that may be live before anything was imported
   */
  constructor(options: { random: () => number; nextId: () => number; firstLive: number }) {
    this.#random = options.random
    this.#leases = new LeaseBook(options.nextId)
    this.#precedence = new Precedence(this.#roll, this.#leases, options.firstLive)
  }

  get members(): number {
    return this.#roll.count
  }

  /** Leases have been granted here. */
  get active(): boolean {
    return this.#active
  }

  /** Leases have been granted here, or noted that others granted. */
  get informed(): boolean {
    return this.#active || this.#noted
  }

  /** What its ledgers take. */
  get trackedPieces(): number {
    return this.#ledgers.pieces
  }

  leases(): Iterable<Lease> {
    return this.#leases
  }

  /** The pieces that a live lease still has to bring. */
  piecesOf(leaseId: number): number[] {
    const lease = this.#leases.get(leaseId)
    return (lease && this.#ledgers.get(lease.size)?.piecesOf(lease.id, lease)) ?? []
  }

  /** The size that most members give; 0 when nobody knows. */
  get size(): number {
    return this.#roll.size
  }

  has(id: string): boolean {
    return this.#roll.get(id) !== undefined
  }

  /** Whether a member was told to ask later. */
  waits(id: string): boolean {
    return this.#precedence.queue.has(id)
  }

  /** Members who hold pieces that others may not see yet, and those who hold all. */
  holders(): Set<string> {
    return new Set([...this.#ledgers.importers(), ...this.#roll.complete()])
  }

  /** @returns whether that changed what the size is taken for */
  join(id: string, size: number): boolean {
    const before = this.size
    const member = this.#roll.enter(id)
    member.complete = false
    this.#roll.vote(member, size)
    return this.size !== before
  }

  /** It holds everything and wants nothing more. */
  complete(id: string): void {
    const member = this.#roll.get(id)
    if (member === undefined) return
    member.complete = true
    this.#precedence.queue.leave(id)
    for (const lease of member.leases) this.#end(lease, member)
  }

  /** It is gone, and what it brought with it. */
  leave(id: string): void {
    const member = this.#roll.get(id)
    if (member === undefined) return
    for (const lease of member.leases) this.#end(lease, member)
    this.#precedence.forget(id)
    this.#roll.delete(member)
    this.#ledgers.forget(id)
  }

  ask(ask: Ask, now: number): Decision {
    const member = this.#roll.enter(ask.member)
    this.#roll.vote(member, ask.size)
    const pauseMs = this.#roll.pauseOf(member, now)
    if (pauseMs > 0) return { retryMs: pauseMs }
    if (this.#precedence.isAhead(member, now)) return { retryMs: HELD_BACK_MS }
    const lease = this.#precedence.mayLease(member, now) ? this.#grant(member, ask, now) : undefined
    if (lease === undefined) {
      this.#precedence.queue.enter(member.id)
      return { retryMs: retryMs(this.members, this.#random) }
    }
    this.#precedence.queue.leave(member.id)
    this.#active = true
    return { lease }
  }

  /** Who of those that wait should ask now. */
  call(now: number): string[] {
    const { size } = this
    const ledger = this.#ledgers.get(size)
    if (this.#roll.pausedUntil > now || this.#leases.streaming(size)) return []
    const room =
      ledger === undefined
        ? Number(!this.#leases.opening)
        : Math.min(ledger.free, this.#precedence.room(size, ledger.imports, now))
    return this.#precedence.call(room, now)
  }

  /** Notes what a member imports by the leave of another table. @returns `undefined` when others import all of it */
  hold(id: string, size: number, run: Run, now: number): Lease | undefined {
    const member = this.#roll.enter(id)
    this.#roll.vote(member, size)
    this.#noted = true
    let live = 0
    for (const { lapsed } of member.leases) if (!lapsed) live++
    if (live >= MAX_NOTED_LEASES) return undefined
    if (size === 0) return this.#open(member, now)
    const ledger = this.#ledgers.open(size, this.#roll.votes, now)
    if (ledger === undefined) return undefined
    const last = Math.min(run.last, run.first + this.#longest(member, ledger) - 1)
    return this.#lease(member, ledger, { first: run.first, last }, 'free', now)
  }

  /** The origin has answered a leaseholder. @returns whether the size was learnt, or is another now */
  opened(id: string, leaseId: number, size: number, streams: boolean, now: number): boolean {
    const member = this.#roll.get(id)
    const lease = member && this.#leases.of(member, leaseId)
    if (member === undefined || lease === undefined || (lease.size > 0 && lease.size !== size)) return false
    const before = this.size
    const learnt = lease.size === 0
    lease.opened = true
    lease.heardAt = now
    if (size > 0) this.#roll.vote(member, size)
    const ledger = size === 0 ? undefined : this.#ledgers.open(size, this.#roll.votes, now)
    if (ledger === undefined) {
      this.#end(lease, member)
      return false
    }
    ledger.streams = streams
    if (learnt) settle(lease, ledger)
    if (streams) widen(lease, ledger)
    return learnt || this.size !== before
  }

  alive(id: string, leaseId: number, now: number): void {
    const member = this.#roll.get(id)
    const lease = member && this.#leases.of(member, leaseId)
    if (lease === undefined) return
    lease.heardAt = now
    this.#revive(lease, now)
  }

  progress(id: string, leaseId: number, index: number, now: number): void {
    const member = this.#roll.get(id)
    const lease = member && this.#leases.of(member, leaseId)
    const ledger = lease && this.#ledgers.get(lease.size)
    if (member === undefined || lease === undefined || ledger === undefined) return
    if (index < lease.first || index > lease.last) return
    const tookMs = now - lease.progressedAt
    lease.opened = true
    lease.heardAt = now
    lease.progressedAt = now
    member.failures = 0
    member.missed = 0
    this.#revive(lease, now)
    if (!ledger.imported(lease.id, index, id, now)) return
    member.imported++
    this.#precedence.speeds.note(id, tookMs)
    if (--lease.remaining === 0) this.#end(lease, member, now)
  }

  end(id: string, leaseId: number, outcome: { done: boolean; retryAfterMs: number }, now: number): void {
    const member = this.#roll.get(id)
    const lease = member && this.#leases.of(member, leaseId)
    if (member === undefined || lease === undefined) return
    if (!outcome.done) this.#roll.failed(member, outcome.retryAfterMs, now)
    this.#end(lease, member, now)
  }

  /** Takes back what shows no life. */
  expire(now: number): void {
    this.#precedence.expire(now)
    for (const lease of this.#leases) {
      if (lease.lapsed || expiryOf(lease, this.#precedence.speeds.usualMs) > now) continue
      lease.lapsed = true
      this.#release(lease)
      if (lease.size > 0) this.#precedence.speeds.note(lease.member, now - lease.progressedAt)
      const member = this.#roll.get(lease.member)
      if (member !== undefined) this.#roll.failed(member, 0, now)
    }
  }

  /** When `expire` or `call` next has something to do. */
  nextExpiry(): number | undefined {
    let next = this.#precedence.queue.nextExpiry()
    for (const lease of this.#leases)
      if (!lease.lapsed) next = Math.min(next ?? Number.POSITIVE_INFINITY, expiryOf(lease, this.#precedence.speeds.usualMs))
    return next
  }

  #grant(member: Member, { size: asked, runs }: Ask, now: number): Lease | undefined {
    const size = asked > 0 ? asked : this.size
    if (size === 0) return this.#open(member, now)
    const ledger = this.#ledgers.open(size, this.#roll.votes, now)
    if (ledger === undefined || this.#leases.streaming(size)) return undefined
    if (
      this.#precedence.room(size, ledger.imports, now) <=
      (size === this.size ? this.#precedence.queue.keptFrom(member.id, now) : 0)
    )
      return undefined
    const { pieces } = ledger.geometry
    const wanted = asked > 0 ? runs : [{ first: 0, last: pieces - 1 }]
    const patience = asked > 0 ? orphanedMs(this.members) : Number.POSITIVE_INFINITY
    const run = ledger.find(wanted, member.id, this.#longest(member, ledger, member.imported === 0), now, patience)
    if (run === undefined) return undefined
    const lease = this.#lease(member, ledger, run, 'all', now)
    if (ledger.streams && lease !== undefined) widen(lease, ledger)
    return lease
  }

  #longest({ id }: Member, { geometry, imports }: Ledger, isNew = false): number {
    return this.members > 1
      ? leasePieces(geometry, this.members, imports, isNew)
      : loneLeasePieces(geometry, imports, this.#precedence.speeds.of(id))
  }

  #open(member: Member, now: number): Lease | undefined {
    if (this.#leases.opening) return undefined
    return this.#leases.add(member, 0, { first: 0, last: 0 }, now)
  }

  #lease(member: Member, ledger: Ledger, run: Run, which: 'all' | 'free', now: number): Lease | undefined {
    const lease = this.#leases.add(member, ledger.geometry.size, run, now)
    lease.granted = ledger.take(lease.id, run, which)
    lease.remaining = lease.granted
    if (lease.granted > 0) return lease
    this.#leases.delete(lease, member)
    return undefined
  }

  /** What has lapsed and shows life gets back what nobody else has taken. */
  #revive(lease: Lease, now: number): void {
    if (!lease.lapsed) return
    const ledger = this.#ledgers.get(lease.size)
    if (ledger === undefined ? this.#leases.opening : lease.streams && this.#leases.streaming(lease.size)) return
    if (now - lease.progressedAt > patienceMs(ledger?.geometry.pieceBytes ?? 0)) return
    lease.lapsed = false
    if (ledger !== undefined) lease.remaining = ledger.take(lease.id, lease, 'free')
  }

  #end(lease: Lease, member: Member, now?: number): void {
    this.#leases.delete(lease, member)
    if (now !== undefined) member.endedAt = now
    if (!lease.lapsed) this.#release(lease)
  }

  #release(lease: Lease): void {
    if (lease.size > 0) this.#ledgers.get(lease.size)?.release(lease.id, lease)
  }
}
