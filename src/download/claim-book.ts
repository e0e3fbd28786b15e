import type { Claim } from '../../protocols/claim/codec.ts'

/** What one author says a piece's hash is. */
export interface Word {
  readonly author: string
  readonly kind: Claim['kind']
  readonly hash: Uint8Array
}

/** Bounds what neighbours can make us keep: authors heard per blob. */
const MAX_AUTHORS = 64

/**
 * Everything that signed claims say about one blob's pieces. A claim is only as good as its author, so the book keeps
 * who said what, prefers those who verified the whole, and can be told whom to believe no more. Pure state.
 */
export class ClaimBook {
  readonly #claims: Claim[] = []
  readonly #authors = new Set<string>()
  readonly #suspects = new Set<string>()

  /** @returns whether it was news. Claims must have been verified and be about this blob and size. */
  add(claim: Claim): boolean {
    if (!this.#authors.has(claim.author) && this.#authors.size >= MAX_AUTHORS) return false
    const known = this.#claims.some(
      (c) =>
        c.author === claim.author && c.kind === claim.kind && c.first <= claim.first && end(c) >= end(claim) && agree(c, claim),
    )
    if (known) return false
    this.#authors.add(claim.author)
    for (let i = this.#claims.length - 1; i >= 0; i--) {
      const old = this.#claims[i] as Claim
      const covered = old.author === claim.author && old.kind === claim.kind && claim.first <= old.first && end(claim) >= end(old)
      if (covered && agree(old, claim)) this.#claims.splice(i, 1)
    }
    this.#claims.push(claim)
    return true
  }

  /** The hash to verify a piece against: of the authors most worth believing, or `undefined` when nobody says. */
  word(index: number): Word | undefined {
    const words = [...this.words(index)]
    let best: Word | undefined
    let bestWeight = -1
    for (const word of words) {
      const weight = this.#weight(word, words)
      if (weight > bestWeight) [best, bestWeight] = [word, weight]
    }
    return best
  }

  /** All that is said about a piece. */
  *words(index: number): Iterable<Word> {
    for (const claim of this.#claims) {
      const hash = claim.hashes[index - claim.first]
      if (hash !== undefined) yield { author: claim.author, kind: claim.kind, hash }
    }
  }

  /** Claims that say something about these pieces, whole: one author's, or those of all who are not suspect. */
  about(first: number, count: number, author?: string): readonly Claim[] {
    return this.#claims.filter(
      (c) =>
        c.first < first + count && end(c) > first && (author === undefined ? !this.#suspects.has(c.author) : c.author === author),
    )
  }

  authors(): ReadonlySet<string> {
    return this.#authors
  }

  /** Believe this author only when nobody else speaks. */
  suspect(author: string): void {
    this.#suspects.add(author)
  }

  isSuspect(author: string): boolean {
    return this.#suspects.has(author)
  }

  /** The claims of authors who said something else than the truth: the evidence against them. */
  contradicting(truth: (index: number) => Uint8Array | undefined): readonly Claim[] {
    return this.#claims.filter((claim) =>
      claim.hashes.some((hash, i) => {
        const right = truth(claim.first + i)
        return right !== undefined && !same(hash, right)
      }),
    )
  }

  /** Suspects last; who verified the whole before an importer; what several say before what one says. */
  #weight(word: Word, words: readonly Word[]): number {
    if (this.#suspects.has(word.author)) return 0
    const agreeing = words.filter((other) => !this.#suspects.has(other.author) && same(other.hash, word.hash))
    return 1 + agreeing.length + (word.kind === 'complete' ? MAX_AUTHORS : 0)
  }
}

function end(claim: Claim): number {
  return claim.first + claim.hashes.length
}

/** Whether two claims say the same where they overlap. */
function agree(a: Claim, b: Claim): boolean {
  for (let i = Math.max(a.first, b.first); i < Math.min(end(a), end(b)); i++) {
    if (!same(a.hashes[i - a.first] as Uint8Array, b.hashes[i - b.first] as Uint8Array)) return false
  }
  return true
}

export function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}
