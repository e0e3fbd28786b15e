/** Of those who had to go, so many are not taken back for so long. */
const MAX_DISMISSED = 256
const DISMISSED_MS = 60_000

/** Neighbours that were of no use and gave their places to others. Times are monotonic milliseconds, given by the caller. */
export class Dismissed {
  /** Since when, the earliest first. */
  readonly #since = new Map<string, number>()

  add(peerId: string, now: number): void {
    this.#since.delete(peerId)
    this.#since.set(peerId, now)
    if (this.#since.size > MAX_DISMISSED) this.#since.delete(this.#since.keys().next().value as string)
  }

  has(peerId: string, now: number): boolean {
    const since = this.#since.get(peerId)
    return since !== undefined && now - since < DISMISSED_MS
  }
}
