import type { Digest } from '../../protocols/digest.ts'
import { BlobLeases } from './blob-leases.ts'
import { FIRST_LIVE } from './policy.ts'

export interface TableBounds {
  readonly blobs: number
  readonly membersPerBlob: number
  /** Pieces over all blobs: ten bytes each. */
  readonly pieces: number
  /** Leases of a blob that may be live before anything was imported. */
  readonly firstLive: number
}

export const TABLE_BOUNDS: TableBounds = Object.freeze({
  blobs: 4_096,
  membersPerBlob: 2_048,
  pieces: 4 << 20,
  firstLive: FIRST_LIVE,
})

/** The leases of every blob that this node is the rendezvous of; what was not used for longest goes when there are too many. */
export class LeaseTable {
  /** By digest, in the order of last use. */
  readonly #blobs = new Map<string, BlobLeases>()
  readonly #bounds: TableBounds
  readonly #random: () => number
  readonly #onDrop: (key: string) => void
  #lastId = 0

  /** @param onDrop told the digest of each blob that is let go while it has members */
  constructor(options: { random: () => number; bounds: TableBounds; onDrop: (key: string) => void }) {
    this.#random = options.random
    this.#bounds = options.bounds
    this.#onDrop = options.onDrop
  }

  get size(): number {
    return this.#blobs.size
  }

  get(digest: Digest): BlobLeases | undefined {
    return this.#blobs.get(digest.toString())
  }

  /** The blob's leases, for a member to join or to be dealt with; `undefined` when it has too many others. */
  use(digest: Digest, member: string): BlobLeases | undefined {
    const key = digest.toString()
    const { firstLive } = this.#bounds
    const blob = this.#blobs.get(key) ?? new BlobLeases({ random: this.#random, nextId: () => this.#nextId(), firstLive })
    this.#blobs.delete(key)
    this.#blobs.set(key, blob)
    if (this.#blobs.size > this.#bounds.blobs) this.#dropOldest()
    return blob.has(member) || blob.members < this.#bounds.membersPerBlob ? blob : undefined
  }

  leave(digest: Digest, member: string): void {
    const blob = this.get(digest)
    blob?.leave(member)
    if (blob?.members === 0) this.#blobs.delete(digest.toString())
  }

  /** Keeps the memory of all ledgers bounded: to be called after what may have made one. */
  trim(): void {
    let pieces = 0
    for (const blob of this.#blobs.values()) pieces += blob.trackedPieces
    while (pieces > this.#bounds.pieces && this.#blobs.size > 1) pieces -= this.#dropOldest()
  }

  /** Takes back what shows no life. */
  expire(now: number): void {
    for (const blob of this.#blobs.values()) blob.expire(now)
  }

  nextExpiry(): number | undefined {
    let next: number | undefined
    for (const blob of this.#blobs.values()) {
      const one = blob.nextExpiry()
      if (one !== undefined) next = Math.min(next ?? one, one)
    }
    return next
  }

  /** @returns how many pieces it tracked */
  #dropOldest(): number {
    const [key, blob] = this.#blobs.entries().next().value as [string, BlobLeases]
    this.#blobs.delete(key)
    this.#onDrop(key)
    return blob.trackedPieces
  }

  /** As wide as the wire's field; 0 stands for no lease. */
  #nextId(): number {
    this.#lastId = this.#lastId === 0xffff_ffff ? 1 : this.#lastId + 1
    return this.#lastId
  }
}
