import type { Claim } from '../../protocols/claim/codec.ts'

/** What one author says a piece's hash is. */
export interface Word {
  readonly author: string
  readonly kind: Claim['kind']
  readonly hash: Uint8Array
}

/** Bounds what neighbours can make us keep: words about one piece … */
const MAX_WORDS = 16
/** … and hashes in all claims that are kept, for each piece of the blob. */
const MAX_HASHES_PER_PIECE = 64
/** More than there can be words that agree. */
const VERIFIED_THE_WHOLE = MAX_WORDS + 1

interface Entry extends Word {
  claim: Claim
}

/**
 * Everything that signed claims say about one blob's pieces. A claim is only as good as its author, so the book keeps
 * who said what, prefers those who verified the whole, and can be told whom to believe no more. Pure state.
 */
export class ClaimBook {
  readonly #byPiece = new Map<number, Entry[]>()
  readonly #authors = new Set<string>()
  readonly #suspects = new Set<string>()
  #doubted: ReadonlySet<string> = new Set()
  #outvoted: ReadonlySet<string> = new Set()
  /** Pieces that something new was said of. */
  readonly #news = new Set<number>()
  #hashesLeft: number

  /** @param pieces how many the blob has */
  constructor(pieces = 1) {
    this.#hashesLeft = MAX_HASHES_PER_PIECE * Math.max(pieces, MAX_WORDS)
  }

  /** @returns whether it was news. Claims must have been verified and be about this blob and size. */
  add(claim: Claim): boolean {
    if (claim.hashes.length > this.#hashesLeft) return false
    let news = false
    for (const [i, hash] of claim.hashes.entries()) if (this.#note(claim, claim.first + i, hash)) news = true
    if (!news) return false
    this.#hashesLeft -= claim.hashes.length
    this.#authors.add(claim.author)
    return true
  }

  /** The hash to verify a piece against: of the authors most worth believing, or `undefined` when nobody says. */
  word(index: number): Word | undefined {
    const words = this.words(index)
    let best: Word | undefined
    let bestWeight = -1
    for (const word of words) {
      const weight = this.#weight(word, words)
      if (weight > bestWeight) [best, bestWeight] = [word, weight]
    }
    return best
  }

  /** All that is said about a piece. */
  words(index: number): readonly Word[] {
    return this.#byPiece.get(index) ?? []
  }

  /** Claims that say something about these pieces, whole: one author's, or those of all who are not suspect. */
  about(first: number, count: number, author?: string): readonly Claim[] {
    const claims = new Set<Claim>()
    for (let index = first; index < first + count; index++) {
      for (const { claim } of this.#byPiece.get(index) ?? []) {
        if (author === undefined ? !this.isSuspect(claim.author) : claim.author === author) claims.add(claim)
      }
    }
    return [...claims]
  }

  authors(): ReadonlySet<string> {
    return this.#authors
  }

  /** Believe this author only when nobody else speaks. */
  suspect(author: string): void {
    this.#suspects.add(author)
  }

  /** The same, until others are named. */
  doubt(authors: Iterable<string>): void {
    this.#doubted = new Set(authors)
  }

  /** The same, for what they said of single pieces: until others are named. */
  outvote(authors: Iterable<string>): void {
    this.#outvoted = new Set(authors)
  }

  isSuspect(author: string): boolean {
    return this.#suspects.has(author) || this.#doubted.has(author) || this.#outvoted.has(author)
  }

  /** There is something new to compare with what is said of this piece. */
  note(index: number): void {
    this.#news.add(index)
  }

  /** Pieces that something new is known of since the last call. */
  takeNews(): number[] {
    const news = [...this.#news]
    this.#news.clear()
    return news
  }

  /** The claims of authors who said something else than the truth: the evidence against them. */
  contradicting(truth: (index: number) => Uint8Array | undefined): Claim[] {
    const claims = new Set<Claim>()
    for (const [index, entries] of this.#byPiece) {
      const right = truth(index)
      if (right !== undefined) for (const { claim, hash } of entries) if (!same(hash, right)) claims.add(claim)
    }
    return [...claims]
  }

  /** @returns whether nobody of this name had said that of the piece before, and there was room for it */
  #note(claim: Claim, index: number, hash: Uint8Array): boolean {
    const entries = this.#byPiece.get(index)
    const { author, kind } = claim
    if (entries === undefined) {
      this.#byPiece.set(index, [{ author, kind, hash, claim }])
      this.#news.add(index)
      return true
    }
    const known = entries.find((e) => e.author === author && e.kind === kind && same(e.hash, hash))
    // a growing run takes the place of the shorter ones
    if (known !== undefined && known.claim.hashes.length < claim.hashes.length) known.claim = claim
    if (known !== undefined || entries.length >= MAX_WORDS) return false
    entries.push({ author, kind, hash, claim })
    this.#news.add(index)
    return true
  }

  /** Suspects last; who verified the whole before an importer; what several say before what one says. */
  #weight(word: Word, words: readonly Word[]): number {
    if (this.isSuspect(word.author)) return 0
    const agreeing = words.filter((other) => !this.isSuspect(other.author) && same(other.hash, word.hash))
    return agreeing.length + (word.kind === 'complete' ? VERIFIED_THE_WHOLE : 1)
  }
}

export function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}
