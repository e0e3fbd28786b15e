import { createHash } from 'node:crypto'
import type { ClaimBook } from './claim-book.ts'
import type { Step } from './suspects.ts'

/** Pieces that every node of a crowd may import for itself. */
const MAX_URGENT = 32

type Hashes = readonly (Uint8Array | undefined)[]

/** What is known of a blob whose digest did not match: which pieces may come back on whose word, and what was tried so far. */
export class Doubts {
  readonly #book: ClaimBook
  /** Dropped: they come back on the word of an author who is not suspect, or by import. */
  readonly #dropped = new Set<number>()
  /** To be imported by this node, whatever peers say … */
  readonly #audited = new Set<number>()
  /** … and whatever others import, while they are few. */
  readonly urgent = new Set<number>()
  /** Lists that do not make the digest. */
  readonly #failed = new Set<string>()
  /** Holders of the whole whose list was, or is being, tried. */
  readonly tried = new Set<string>()
  /** Importers found to have signed what is not so, while the blob still came in: a piece on their word alone is not kept. */
  readonly caught = new Set<string>()
  /** Rounds of audits so far. */
  audits = 0
  rounds = 0

  constructor(book: ClaimBook) {
    this.#book = book
  }

  /** Whether these pieces are known not to make the digest. */
  hasFailed(accepted: Hashes): boolean {
    return this.#failed.has(fingerprint(accepted))
  }

  failed(accepted: Hashes): void {
    this.#failed.add(fingerprint(accepted))
  }

  /** What is being done now. */
  note({ pieces, audit, trial }: Step): void {
    this.rounds++
    if (audit) this.audits++
    if (trial !== undefined) this.tried.add(trial)
    for (const index of pieces) {
      this.#dropped.add(index)
      if (audit) this.#audited.add(index)
      if (audit && pieces.length <= MAX_URGENT) this.urgent.add(index)
    }
  }

  /** This node sees for itself what the origin has there. */
  audit(index: number): void {
    this.#dropped.add(index)
    this.#audited.add(index)
    this.urgent.add(index)
  }

  /** It takes too long to see for itself: the piece may come as any other. */
  unaudit(index: number): void {
    this.#audited.delete(index)
    this.urgent.delete(index)
    if (this.#book.words(index).length === 0) this.#dropped.delete(index)
  }

  /** Nobody who is believed speaks for these: whether held or not, they come in by import, or on somebody's word who is. */
  bar(indices: Iterable<number>): void {
    for (const index of indices) this.#dropped.add(index)
  }

  /** Whether a piece that has just come may not be kept: who speaks for it has been caught meanwhile. */
  refuses(index: number, author: string): boolean {
    if (!this.caught.has(author)) return false
    this.#dropped.add(index)
    return true
  }

  /** A piece has come back. */
  settle(index: number): void {
    this.#dropped.delete(index)
    this.#audited.delete(index)
    this.urgent.delete(index)
  }

  /** Whether a piece may not be asked of peers: nobody speaks for it who is believed. */
  bars(index: number): boolean {
    if (!this.#dropped.has(index)) return false
    return this.#audited.has(index) || !this.#isVouchedFor(index)
  }

  barred(): number[] {
    return this.#dropped.size === 0 ? [] : [...this.#dropped].filter((index) => this.bars(index))
  }

  /** Pieces for which it would help if somebody spoke. */
  wanted(): number[] {
    return this.barred().filter((index) => !this.#audited.has(index))
  }

  get size(): number {
    return this.#dropped.size
  }

  #isVouchedFor(index: number): boolean {
    const word = this.#book.word(index)
    return word !== undefined && !this.#book.isSuspect(word.author)
  }
}

function fingerprint(accepted: Hashes): string {
  const hash = createHash('sha256')
  for (const one of accepted) hash.update(one ?? '')
  return hash.digest('base64')
}
