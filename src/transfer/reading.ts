import type { Claim } from '../../protocols/claim/codec.ts'
import type { Digest } from '../../protocols/digest.ts'
import { geometryOf, pieceLength } from '../../protocols/pieces.ts'
import type { Loan, Shelf } from './shelf.ts'
import type { Holding } from './transfer.ts'

/** A piece that a peer asked for. */
export interface PieceWanted {
  readonly digest: Digest
  readonly index: number
  readonly maxBytes: number
  readonly wantsClaim: boolean
}

const NOTHING = { bytes: new Uint8Array(0), release() {} }

/** A piece being read for a peer, part by part. */
export class Reading {
  readonly length: number
  /** Goes with it, where one was wanted. */
  readonly claim: Claim | undefined
  readonly #index: number
  readonly #loan: Loan
  #at = 0

  private constructor(index: number, length: number, loan: Loan, claim: Claim | undefined) {
    this.#index = index
    this.length = length
    this.#loan = loan
    this.claim = claim
  }

  /** @returns the reading, or why there is none: the piece is not held, or larger than wanted, and then how large the blob is */
  static async begin(
    { digest, index, maxBytes, wantsClaim }: PieceWanted,
    shelf: Shelf,
  ): Promise<Reading | 'lacks' | { readonly size: number }> {
    const loan = await shelf.borrow(digest)
    if (loan === undefined) return 'lacks'
    const { size, have } = loan.holding
    const empty = size === 0 && index === 0
    const held = empty || have.has(index)
    const length = held && !empty ? pieceLength(geometryOf(size), index) : 0
    if (held && length <= maxBytes) {
      const claim = wantsClaim ? await claimAbout(loan.holding, index) : undefined
      return new Reading(index, length, loan, claim)
    }
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

/** Without one the asker asks for it on the control stream: no reason to keep the piece back. */
async function claimAbout(holding: Holding, index: number): Promise<Claim | undefined> {
  if (geometryOf(holding.size).pieces <= 1) return undefined
  const claims = await holding.claims(index, 1).catch(() => [])
  const about = claims.filter(({ first, hashes }) => first <= index && index < first + hashes.length)
  return about.toSorted((a, b) => a.hashes.length - b.hashes.length)[0]
}
