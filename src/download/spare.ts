/** Of what peers bring, so much may come twice. */
const SHARE = 0.01
/** What was earned and not used is kept up to this. */
const MAX_BYTES = 64 * 1024 * 1024

/**
 * What may come twice because two holders were asked for the same piece: a share of what came, over all downloads of the node.
 * A piece more may be ventured before it has been earned, so that the first blob's last piece need not wait for a slow peer either.
 */
export class Spare {
  #earned = 0
  #ventured = 0

  /** How much may be ventured now. */
  room(pieceBytes: number): number {
    return this.#earned + pieceBytes - this.#ventured
  }

  /** Bytes came that were needed. */
  earn(bytes: number): void {
    this.#earned = Math.min(MAX_BYTES, this.#earned + bytes * SHARE)
  }

  /** So much is asked for that may turn out to have been on its way already. */
  venture(bytes: number): void {
    this.#ventured += bytes
  }

  /** How that ended. @param lostBytes came in vain */
  settle(bytes: number, lostBytes: number): void {
    this.#ventured -= bytes
    this.#earned -= lostBytes
  }
}
