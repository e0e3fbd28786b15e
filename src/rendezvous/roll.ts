import type { Lease } from './lease.ts'
import { mostVoted, type Votes } from './ledgers.ts'
import { MIN_PAUSE_MS, pauseMs } from './policy.ts'

export interface Member {
  readonly id: string
  /** As it says; 0 when it does not know. */
  size: number
  complete: boolean
  /** Leases in a row that it brought nothing under. */
  failures: number
  /** Calls in a row that it did not answer. */
  missed: number
  pausedUntil: number
  /** It has made everybody wait for its origin's sake once. */
  pausedAll: boolean
  /** Pieces that it has brought. */
  imported: number
  /** When it last gave up a lease, or lost it. */
  endedAt: number
  readonly leases: Set<Lease>
}

const NEW = Object.freeze({
  size: 0,
  complete: false,
  failures: 0,
  missed: 0,
  pausedUntil: 0,
  pausedAll: false,
  imported: 0,
  endedAt: 0,
})

/** The members of one blob's swarm, and what they say its size is. */
export class Roll {
  readonly #members = new Map<string, Member>()
  /** How many members give which size. */
  readonly #votes = new Map<number, number>()
  /** Until then the origin is left alone. */
  pausedUntil = 0

  get count(): number {
    return this.#members.size
  }

  get votes(): Votes {
    return this.#votes
  }

  /** The size that most give; 0 when nobody knows. */
  get size(): number {
    return mostVoted(this.#votes)
  }

  *complete(): Generator<string> {
    for (const { id, complete } of this.#members.values()) if (complete) yield id
  }

  get(id: string): Member | undefined {
    return this.#members.get(id)
  }

  enter(id: string): Member {
    let member = this.#members.get(id)
    if (member === undefined) {
      member = { id, ...NEW, leases: new Set() }
      this.#members.set(id, member)
    }
    return member
  }

  delete(member: Member): void {
    this.vote(member, 0)
    this.#members.delete(member.id)
  }

  /** What a member says the size is; 0 takes its word back. */
  vote(member: Member, size: number): void {
    if (member.size === size) return
    const before = (this.#votes.get(member.size) ?? 0) - 1
    if (before > 0) this.#votes.set(member.size, before)
    else this.#votes.delete(member.size)
    member.size = size
    if (size > 0) this.#votes.set(size, (this.#votes.get(size) ?? 0) + 1)
  }

  /** A member brought nothing under a lease. `retryAfterMs`: the origin asked to be left alone. */
  failed(member: Member, retryAfterMs: number, now: number): void {
    member.failures++
    member.pausedUntil = Math.max(member.pausedUntil, now + Math.max(retryAfterMs, pauseMs(member.failures)))
    if (retryAfterMs < MIN_PAUSE_MS || member.pausedAll) return
    member.pausedAll = true
    this.pausedUntil = Math.max(this.pausedUntil, now + retryAfterMs)
  }

  /** For how long a member is granted nothing. */
  pauseOf(member: Member, now: number): number {
    return Math.max(this.pausedUntil, member.pausedUntil) - now
  }
}
