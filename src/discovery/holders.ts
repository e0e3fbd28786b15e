import { hash } from 'node:crypto'
import type { Random } from './pace.ts'

export interface HoldersLimits {
  readonly maxDigests: number
  /** Of one digest: a sample is enough. */
  readonly maxHolders: number
  /** Of one peer, so that a liar cannot push everybody else's out. */
  readonly maxClaims: number
}

const LIMITS: HoldersLimits = Object.freeze({ maxDigests: 50_000, maxHolders: 32, maxClaims: 12_500 })

interface Holder {
  readonly id: string
  claims: number
}

/** Who says that it holds which blob completely: bounded, least recently used out first. Digests are in text form. */
export class Holders {
  readonly #limits: HoldersLimits
  readonly #random: Random
  /** In order of use. */
  readonly #digests = new Map<string, Holder[]>()
  /** Each id is kept once, however many digests it holds. */
  readonly #peers = new Map<string, Holder>()

  constructor(random: Random, limits: Partial<HoldersLimits> = {}) {
    this.#random = random
    this.#limits = { ...LIMITS, ...limits }
  }

  get size(): number {
    return this.#digests.size
  }

  /** @returns whether it is kept; a peer that claims too much is not believed further */
  add(digest: string, peerId: string): boolean {
    const known = this.#use(digest)
    if (known?.some((holder) => holder.id === peerId)) return true
    const holder = this.#peers.get(peerId) ?? { id: peerId, claims: 0 }
    if (holder.claims >= this.#limits.maxClaims) return false
    this.#peers.set(peerId, holder)
    holder.claims++
    if (known === undefined) this.#digests.set(digest, [holder])
    else if (known.length < this.#limits.maxHolders) known.push(holder)
    else this.#replace(known, holder)
    this.#shrink()
    return true
  }

  /** @returns whether it was known to hold it */
  remove(digest: string, peerId: string): boolean {
    const known = this.#digests.get(digest)
    const at = known?.findIndex((holder) => holder.id === peerId) ?? -1
    if (known === undefined || at === -1) return false
    this.#release(known.splice(at, 1)[0] as Holder)
    if (known.length === 0) this.#digests.delete(digest)
    return true
  }

  /** One pass over everything, so for all that are gone at once. */
  removePeers(gone: ReadonlySet<string>): void {
    if (![...gone].some((id) => this.#peers.has(id))) return
    for (const [digest, known] of this.#digests) {
      if (!known.some((holder) => gone.has(holder.id))) continue
      const left = known.filter((holder) => !gone.has(holder.id))
      if (left.length === 0) this.#digests.delete(digest)
      else this.#digests.set(digest, left)
    }
    for (const id of gone) this.#peers.delete(id)
  }

  find(digest: string): readonly string[] {
    return this.#use(digest)?.map((holder) => holder.id) ?? []
  }

  /** So many hold it that one more changes nothing. */
  hasPlenty(digest: string): boolean {
    return (this.#digests.get(digest)?.length ?? 0) >= this.#limits.maxHolders
  }

  /** How many of those who hold it come before this peer in an order that is the same for everybody and another for each blob. */
  before(digest: string, peerId: string): number {
    const place = (id: string) => hash('sha256', `${digest} ${id}`)
    const own = place(peerId)
    return this.#digests.get(digest)?.filter(({ id }) => place(id) < own).length ?? 0
  }

  #use(digest: string): Holder[] | undefined {
    const known = this.#digests.get(digest)
    if (known === undefined) return undefined
    this.#digests.delete(digest)
    this.#digests.set(digest, known)
    return known
  }

  #replace(known: Holder[], holder: Holder): void {
    const at = Math.floor(this.#random() * known.length)
    this.#release(known[at] as Holder)
    known[at] = holder
  }

  #shrink(): void {
    if (this.#digests.size <= this.#limits.maxDigests) return
    const [oldest, known] = this.#digests.entries().next().value as [string, Holder[]]
    this.#digests.delete(oldest)
    for (const holder of known) this.#release(holder)
  }

  #release(holder: Holder): void {
    if (--holder.claims === 0) this.#peers.delete(holder.id)
  }
}
