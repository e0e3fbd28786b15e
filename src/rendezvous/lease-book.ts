import { createLease, type Lease } from './lease.ts'
import { MAX_NOTED_LEASES } from './policy.ts'
import type { Run } from './ranges.ts'
import type { Member } from './roll.ts'

/** The leases of one blob, whatever their size. */
export class LeaseBook {
  readonly #leases = new Map<number, Lease>()
  readonly #nextId: () => number

  constructor(nextId: () => number) {
    this.#nextId = nextId
  }

  [Symbol.iterator](): Iterator<Lease> {
    return this.#leases.values()
  }

  get(leaseId: number): Lease | undefined {
    return this.#leases.get(leaseId)
  }

  /** A member's lease of that number. */
  of(member: Member, leaseId: number): Lease | undefined {
    const lease = this.#leases.get(leaseId)
    return lease?.member === member.id ? lease : undefined
  }

  /** One that has no pieces yet. */
  add(member: Member, size: number, run: Run, now: number): Lease {
    for (const old of member.leases) if (old.lapsed && member.leases.size >= MAX_NOTED_LEASES) this.delete(old, member)
    const lease = createLease(this.#nextId(), member.id, size, run, now)
    this.#leases.set(lease.id, lease)
    member.leases.add(lease)
    return lease
  }

  delete(lease: Lease, member: Member): void {
    this.#leases.delete(lease.id)
    member.leases.delete(lease)
  }

  /** How many are live and … */
  count(which: (lease: Lease) => boolean): number {
    let count = 0
    for (const lease of this.#leases.values()) if (!lease.lapsed && which(lease)) count++
    return count
  }

  /** Whether somebody opens the origin. */
  get opening(): boolean {
    for (const { size, lapsed } of this.#leases.values()) if (size === 0 && !lapsed) return true
    return false
  }

  /** Whether somebody reads all that is left of a blob of that size. */
  streaming(size: number): boolean {
    for (const lease of this.#leases.values()) if (lease.streams && lease.size === size && !lease.lapsed) return true
    return false
  }
}
