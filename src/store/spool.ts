import { createHash, type Hash } from 'node:crypto'
import type { DigestAlgorithm } from '../../protocols/digest.ts'
import { PIECE_SIZES } from '../../protocols/pieces.ts'
import type { SealedSpool } from './disk-protocol.ts'

/**
 * Hashes of content whose size shows only at its end: of the whole, and of its pieces at the piece size that fits what has come so far.
 * When it outgrows a piece size, the pieces before that point are left to be hashed again from the file: a 64th of the whole, at most.
 */
export class Spool {
  readonly #whole: Hash
  #size = 0
  #row = 0
  #first = 0
  #hashes: Uint8Array[] = []
  #piece: Hash = createHash('sha256')
  #inPiece = 0

  constructor(algorithm: DigestAlgorithm) {
    this.#whole = createHash(algorithm)
  }

  /** Where the next bytes belong. */
  get size(): number {
    return this.#size
  }

  /** Takes in the next bytes; the whole may not be over MAX_BLOB_BYTES. */
  update(bytes: Uint8Array): void {
    this.#whole.update(bytes)
    for (let at = 0; at < bytes.length; ) at += this.#updatePiece(bytes.subarray(at))
  }

  seal(): SealedSpool {
    if (this.#inPiece > 0) this.#endPiece()
    return { hex: this.#whole.digest('hex'), size: this.#size, first: this.#first, hashes: this.#hashes }
  }

  /** @returns how many of the bytes went into the current piece */
  #updatePiece(bytes: Uint8Array): number {
    const { upTo, pieceBytes } = PIECE_SIZES[this.#row] as (typeof PIECE_SIZES)[number]
    if (this.#size === upTo) {
      this.#outgrow()
      return 0
    }
    const taken = Math.min(bytes.length, pieceBytes - this.#inPiece)
    this.#piece.update(bytes.subarray(0, taken))
    this.#inPiece += taken
    this.#size += taken
    if (this.#inPiece === pieceBytes) this.#endPiece()
    return taken
  }

  #endPiece(): void {
    this.#hashes.push(this.#piece.digest())
    this.#piece = createHash('sha256')
    this.#inPiece = 0
  }

  /** Every limit is a multiple of the next piece size, so the new pieces begin right here. */
  #outgrow(): void {
    this.#row++
    const { pieceBytes } = PIECE_SIZES[this.#row] as (typeof PIECE_SIZES)[number]
    this.#first = this.#size / pieceBytes
    this.#hashes = []
  }
}
