import { ShoalError } from '../../protocols/error.ts'
import type { Held } from './held.ts'

/** The ways a store says no, worded once. */

/** @throws ShoalError PIECE_MISMATCH unless `hash` is what the caller expects and what is known to be true */
export function checkPiece(held: Held, index: number, hash: Uint8Array, expected: Uint8Array | undefined): void {
  const truth = held.truth(index)
  if (expected !== undefined && !sameBytes(hash, expected)) throw pieceMismatch(held, index)
  if (truth !== undefined && !sameBytes(hash, truth)) throw pieceMismatch(held, index)
}

export function pieceMismatch(held: Held, index: number): ShoalError {
  return new ShoalError('PIECE_MISMATCH', `piece ${index} of ${held.digest} has another hash than it must have`, {
    detail: { digest: held.digest.toString(), index },
  })
}

export function digestMismatch(held: Held): ShoalError {
  return new ShoalError('DIGEST_MISMATCH', `the pieces held do not make up ${held.digest}`)
}

export function piecesMissing(held: Held): ShoalError {
  const missing = held.geometry.pieces - held.have.count
  return new ShoalError('STORE_CORRUPT', `${missing} of the ${held.geometry.pieces} pieces of ${held.digest} are not held`)
}

/** A piece was found corrupt and dropped. */
export function gone(held: Held, index: number): ShoalError {
  return new ShoalError('STORE_CORRUPT', `piece ${index} of ${held.digest} was found corrupt and dropped`, {
    detail: { digest: held.digest.toString(), index },
  })
}

export function sizeDiffers(held: Held, size: number): ShoalError {
  return new ShoalError('STORE_FAILED', `${held.digest} is verified to have ${held.geometry.size} bytes, not ${size}`)
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}
