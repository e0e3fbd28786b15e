import type { Neighbour } from '../transfer/transfer.ts'

/** A zone member that nobody says holds the blob gets this long to be connected to. */
const MEMBER_GRACE_MS = 250
/** A peer that is said to hold it, or that is connected and has been asked, is alive as far as we know and worth more patience. */
const HOLDER_GRACE_MS = 1_500

/** Remembers since when each neighbour has owed us its state. */
export class Settling {
  readonly #since = new Map<string, number>()

  /** Whether some neighbour may still say, soon, what it holds. */
  undecided(neighbours: readonly Neighbour[], holders: ReadonlySet<string>, now: number): boolean {
    let undecided = false
    for (const { peer, state } of neighbours) {
      if (state !== 'connecting' && state !== 'asked') continue
      const since = this.#since.get(peer.id)
      if (since === undefined) this.#since.set(peer.id, now)
      const graceMs = state === 'asked' || holders.has(peer.id) ? HOLDER_GRACE_MS : MEMBER_GRACE_MS
      if (now - (since ?? now) < graceMs) undecided = true
    }
    return undecided
  }
}
