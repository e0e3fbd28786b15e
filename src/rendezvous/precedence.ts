import type { LeaseBook } from './lease-book.ts'
import { isAhead, isOverdue, liveLeasesAfter, maxLeases, maxLiveLeases, nearlyDone, restMs } from './policy.ts'
import { Queue } from './queue.ts'
import type { Member, Roll } from './roll.ts'
import { Speeds } from './speeds.ts'

/** Whose turn it is to import: who is quick before who is slow, then who has imported least, then who has waited for longest. */
export class Precedence {
  readonly #roll: Roll
  readonly #leases: LeaseBook
  readonly #firstLive: number
  readonly queue = new Queue()
  readonly speeds = new Speeds()

  /** @param firstLive leases that may be live before anything was imported */
  constructor(roll: Roll, leases: LeaseBook, firstLive: number) {
    this.#firstLive = firstLive
    this.#roll = roll
    this.#leases = leases
  }

  /** Whether it is this member's turn, as far as that does not depend on others who wait. */
  mayLease(member: Member, now: number): boolean {
    let live = 0
    for (const lease of member.leases) {
      if (lease.lapsed) continue
      if (!lease.opened) return false
      live++
    }
    if (live >= maxLeases(this.#roll.count)) return false
    const pieceMs = this.speeds.of(member.id) ?? 0
    return !this.speeds.slow(member.id) || now - member.endedAt >= restMs(pieceMs) || !this.#othersImport(member)
  }

  /** Whether it has imported more than others who import now, none of them slow. */
  isAhead({ id, imported }: Member, now: number): boolean {
    const { usualMs } = this.speeds
    const others: number[] = []
    for (const lease of this.#leases) {
      const { member, lapsed } = lease
      if (member === id || lapsed || this.speeds.slow(member) || isOverdue(lease, usualMs, now)) continue
      others.push(this.#roll.get(member)?.imported ?? 0)
    }
    return isAhead(imported, others, this.#roll.count)
  }

  /**
   * Leases that the origin has room for, of a blob of this size, of which so many pieces were imported: a lie about it keeps nobody else
   * waiting, nor do leases that bring nothing.
   */
  room(size: number, imports: number, now: number): number {
    const { usualMs } = this.speeds
    const live = this.#leases.count((lease) => lease.size === size && !nearlyDone(lease) && !isOverdue(lease, usualMs, now))
    return Math.min(maxLiveLeases(this.#roll.count), liveLeasesAfter(imports, this.#firstLive)) - live
  }

  /**
   * Who of those that wait should ask now, when so many leases may be granted: last who brought nothing, or did not come, when it
   * was their turn.
   */
  call(count: number, now: number): string[] {
    if (count <= 0 || this.queue.size === 0) return []
    const may = (id: string) => {
      const member = this.#roll.get(id)
      return member !== undefined && this.#roll.pauseOf(member, now) <= 0 && this.mayLease(member, now)
    }
    return this.queue.call(count, may, (a, b) => this.#rank(a) - this.#rank(b), now)
  }

  /** Those who were called and did not come have to ask again. */
  expire(now: number): void {
    for (const id of this.queue.expire(now)) {
      const member = this.#roll.get(id)
      if (member !== undefined) member.missed++
    }
  }

  forget(id: string): void {
    this.queue.leave(id)
    this.speeds.forget(id)
  }

  /** Whether others import who are not slow. */
  #othersImport({ id }: Member): boolean {
    return this.#leases.count(({ member }) => member !== id && !this.speeds.slow(member)) > 0
  }

  #rank(id: string): number {
    const { failures = 0, missed = 0, imported = 0 } = this.#roll.get(id) ?? {}
    return 1e9 * (failures + missed) + imported
  }
}
