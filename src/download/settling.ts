import type { Neighbour } from '../transfer/transfer.ts'

/** A peer asked for its state is given this long before it is no longer waited for. */
const GRACE_MS = 250

/** Remembers since when each neighbour has owed us its state. */
export class Settling {
  readonly #since = new Map<string, number>()

  /** Whether some neighbour may still say, soon, what it holds. */
  undecided(neighbours: readonly Neighbour[], now: number): boolean {
    let undecided = false
    for (const { peer, state } of neighbours) {
      if (state !== 'connecting' && state !== 'asked') continue
      const since = this.#since.get(peer.id)
      if (since === undefined) this.#since.set(peer.id, now)
      if (now - (since ?? now) < GRACE_MS) undecided = true
    }
    return undecided
  }
}
