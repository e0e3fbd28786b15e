import type { Digest } from '../../protocols/digest.ts'
import type { PeerRef } from '../net/host.ts'
import { ALONE, OwnGrant } from '../rendezvous/alone.ts'
import type { Grant, Membership, Rendezvous } from '../rendezvous/rendezvous.ts'
import type { Bell } from './bell.ts'

/** Asking in vain is repeated at the latest after this, whatever the rendezvous says. */
const ASK_AGAIN_MS = 1_000
/** Pieces that this node is to import by itself, and that are not missing or on their way already, are looked for again after this. */
const LOOK_AGAIN_MS = 100

/**
 * One download's place at the rendezvous, taken up when it is of use: a small blob that a known holder gives in one round
 * trip needs none.
 */
export class Introduction implements AsyncDisposable {
  readonly #digest: Digest
  readonly #rendezvous: Rendezvous
  readonly #bell: Bell
  readonly #onMember: (peer: PeerRef) => void
  #membership: Membership | undefined
  #introduced = false
  #others = 0
  #askAt = 0
  #asking = false
  #lookAt = 0
  /** Pieces of `audited` that this node is importing. */
  readonly #under = new Set<number>()
  /** Pieces that this node imports whatever others do: no lease is asked for. */
  audited: ReadonlySet<number> = new Set()
  /** Asked when this node is granted something: whether nobody elsewhere is found who holds it. */
  mustImport: (options: { signal: AbortSignal }) => Promise<boolean> = async () => true

  constructor(digest: Digest, rendezvous: Rendezvous, bell: Bell, onMember: (peer: PeerRef) => void) {
    this.#digest = digest
    this.#rendezvous = rendezvous
    this.#bell = bell
    this.#onMember = onMember
  }

  /** Whether the rendezvous has said who else is there, or is not worth waiting for any longer. */
  get introduced(): boolean {
    return this.#introduced
  }

  /** The blob's size as the zone knows it. */
  get size(): number | undefined {
    return this.#membership?.size
  }

  /** Whether no other member has been told of: then nobody waits for what this node imports. */
  get alone(): boolean {
    return this.#others === 0
  }

  /** Whether nobody can come. */
  get solitary(): boolean {
    return this.#rendezvous === ALONE
  }

  join(size?: number): void {
    if (this.#membership !== undefined) return
    const membership = this.#rendezvous.join(this.#digest, size)
    this.#membership = membership
    membership.onMember((peer) => {
      this.#others++
      this.#onMember(peer)
      this.#bell.ring()
    })
    membership.onChange(() => {
      this.#askAt = 0
      this.#bell.ring()
    })
    void membership.introduced.then(() => {
      this.#introduced = true
      this.#bell.ring()
    })
  }

  /** Whether it is time to ask for something to import. */
  mayAsk(now: number): boolean {
    if (this.#asking) return false
    return now >= this.#askAt || (now >= this.#lookAt && [...this.audited].some((index) => !this.#under.has(index)))
  }

  /** @returns what this node is to import now, or `undefined` when that is others' business @throws the signal's reason */
  async ask(orphans: readonly number[], size: number | undefined, options: { signal: AbortSignal }): Promise<Grant | undefined> {
    const own = size === undefined ? undefined : orphans.find((index) => this.audited.has(index) && !this.#under.has(index))
    if (own !== undefined) return this.#grantOwn(own, size as number)
    this.#lookAt = performance.now() + LOOK_AGAIN_MS
    if (performance.now() < this.#askAt) return undefined
    this.join(size)
    this.#asking = true
    try {
      // told between the question and its answer, it is time again at once
      this.#askAt = performance.now() + ASK_AGAIN_MS
      const grant = await (this.#membership as Membership).ask(orphans, size, options)
      if (grant !== undefined) this.#askAt = 0
      return grant && (await this.#needed(grant, options))
    } finally {
      this.#asking = false
      this.#bell.ring()
    }
  }

  /** Gives a grant back when what it is about can be had from a peer after all. */
  async #needed(grant: Grant, options: { signal: AbortSignal }): Promise<Grant | undefined> {
    let needed = false
    try {
      needed = await this.mustImport(options)
    } finally {
      if (!needed) grant.end({ ok: true })
    }
    return needed ? grant : undefined
  }

  #grantOwn(index: number, size: number): Grant {
    this.#under.add(index)
    return new OwnGrant(index, index, size, () => {
      this.#under.delete(index)
      this.#bell.ring()
    })
  }

  /** This node holds the whole. */
  complete(): void {
    this.#membership?.complete()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#membership?.[Symbol.asyncDispose]()
  }
}
