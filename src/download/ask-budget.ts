import type { RateLimit } from '../rate-limit.ts'

/**
 * What one download may ask of peers under the node's rate limit: bytes are taken from it before they are asked for, a piece at a
 * time and in turn with everything else that comes in, so that peers never send what this node is not to receive yet.
 */
export class AskBudget implements Disposable {
  readonly #limit: RateLimit | undefined
  readonly #onTurn: () => void
  readonly #closing = new AbortController()
  #bytes = 0
  #waiting = false

  /** @param onTurn told when there is something to ask with, after there was not */
  constructor(limit: RateLimit | undefined, onTurn: () => void) {
    this.#limit = limit
    this.#onTurn = onTurn
  }

  /** Whether the download waits for its turn. */
  get waiting(): boolean {
    return this.#waiting
  }

  /** How much of `wantedBytes` may be asked for now, in whole pieces; less than a piece: `onTurn` tells when to try again. */
  room(wantedBytes: number, pieceBytes: number): number {
    if (this.#limit === undefined) return wantedBytes
    while (this.#bytes + pieceBytes <= wantedBytes && this.#limit.ready(pieceBytes) && !this.#closing.signal.aborted) {
      this.#limit.take(pieceBytes, this.#closing)
      this.#bytes += pieceBytes
    }
    if (this.#bytes < pieceBytes && wantedBytes >= pieceBytes) void this.#wait(this.#limit, pieceBytes)
    return Math.min(wantedBytes, this.#bytes)
  }

  /** Bytes are being asked for; what was not taken before is paid for by what comes after. */
  spend(bytes: number): void {
    this.#limit?.owe(Math.max(0, bytes - this.#bytes))
    this.#bytes = Math.max(0, this.#bytes - bytes)
  }

  /** Bytes that were asked for did not come. */
  giveBack(bytes: number): void {
    this.#limit?.giveBack(bytes)
  }

  [Symbol.dispose](): void {
    this.#closing.abort()
    this.#limit?.giveBack(this.#bytes)
    this.#bytes = 0
  }

  async #wait(limit: RateLimit, pieceBytes: number): Promise<void> {
    if (this.#waiting || this.#closing.signal.aborted) return
    this.#waiting = true
    try {
      await limit.take(pieceBytes, this.#closing)
      this.#bytes += pieceBytes
    } catch {
      return
    } finally {
      this.#waiting = false
    }
    this.#onTurn()
  }
}
