import type { Claim } from '../../protocols/claim/codec.ts'
import type { Digest } from '../../protocols/digest.ts'

/** What is kept until the truth is known: 33 KiB each at most. */
const MAX_ACCUSATIONS = 64
/** Of one who tells, so that it can't crowd out what others tell. */
const MAX_PER_TELLER = 8

/** What an importer signed, and what this node's own origin, or another importer's, has there. */
export interface Contest {
  readonly digest: Digest
  /** Of the blob, in bytes. */
  readonly size: number
  readonly index: number
  readonly hash: Uint8Array
  readonly against: Claim
  /** The statement of the other importer; `undefined` where it is this node that has looked. */
  readonly by?: Claim
}

/** Statements that others, or this node, call wrong, about blobs that are still coming in. Nothing is proven until the digest is. */
export class Accusations {
  readonly #kept = new Map<string, { readonly claim: Claim; readonly teller: string }>()
  readonly #listeners = new Set<(contest: Contest) => void>()

  get size(): number {
    return this.#kept.size
  }

  add(claim: Claim, teller: string): void {
    const key = keyOf(claim)
    if (this.#kept.has(key)) return
    const own = [...this.#kept].filter(([, accusation]) => accusation.teller === teller)
    const [oldest] = own.length >= MAX_PER_TELLER ? (own[0] as [string, unknown]) : [...this.#kept.keys()]
    if (own.length >= MAX_PER_TELLER || this.#kept.size >= MAX_ACCUSATIONS) this.#kept.delete(oldest as string)
    this.#kept.set(key, { claim, teller })
  }

  /** This node has seen for itself that an importer, or its origin, is wrong, or others have convinced it. */
  contest(contest: Contest): void {
    for (const listener of this.#listeners) listener(contest)
  }

  /** Calls with each contest that this node enters; returns an unsubscribe. */
  onContest(listener: (contest: Contest) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** What was said of a blob, to be checked now that it is known. */
  take(digest: Digest): Claim[] {
    const taken: Claim[] = []
    for (const [key, { claim }] of this.#kept) {
      if (!claim.digest.equals(digest)) continue
      taken.push(claim)
      this.#kept.delete(key)
    }
    return taken
  }
}

/** One statement of each author about each blob will do. */
function keyOf({ digest, author }: Claim): string {
  return `${digest} ${author}`
}
