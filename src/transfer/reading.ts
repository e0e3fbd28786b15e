import type { Digest } from '../../protocols/digest.ts'
import { geometryOf, pieceLength } from '../../protocols/pieces.ts'
import type { Loan, Shelf } from './shelf.ts'

/** A piece that a peer asked for. */
export interface PieceWanted {
  readonly digest: Digest
  readonly index: number
  readonly maxBytes: number
}

const NOTHING = { bytes: new Uint8Array(0), release() {} }

/** A piece being read for a peer, part by part. */
export class Reading {
  readonly length: number
  readonly #index: number
  readonly #loan: Loan
  #at = 0

  private constructor(index: number, length: number, loan: Loan) {
    this.#index = index
    this.length = length
    this.#loan = loan
  }

  /** @returns the reading, or why there is none: the piece is not held, or larger than wanted, and then how large the blob is */
  static async begin(
    { digest, index, maxBytes }: PieceWanted,
    shelf: Shelf,
  ): Promise<Reading | 'lacks' | { readonly size: number }> {
    const loan = await shelf.borrow(digest)
    if (loan === undefined) return 'lacks'
    const { size, have } = loan.holding
    const empty = size === 0 && index === 0
    const held = empty || have.has(index)
    const length = held && !empty ? pieceLength(geometryOf(size), index) : 0
    if (held && length <= maxBytes) return new Reading(index, length, loan)
    loan.giveBack()
    return held ? { size } : 'lacks'
  }

  get size(): number {
    return this.#loan.holding.size
  }

  get mediaType(): string | undefined {
    return this.#loan.holding.mediaType
  }

  /** Nothing of it has been read yet. */
  get fresh(): boolean {
    return this.#at === 0
  }

  get done(): boolean {
    return this.#at === this.length
  }

  /** Bytes of it that have not been read yet. */
  get left(): number {
    return this.length - this.#at
  }

  /** The next part; release it. @throws ShoalError as Holding.read */
  async next(maxBytes: number, signal: AbortSignal): Promise<{ readonly bytes: Uint8Array; release(): void }> {
    const begin = this.#at
    const length = Math.min(maxBytes, this.length - begin)
    const part = length === 0 ? NOTHING : await this.#loan.holding.read(this.#index, begin, length, { signal })
    this.#at += length
    return part
  }

  end(): void {
    this.#loan.giveBack()
  }
}
