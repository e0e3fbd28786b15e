import type { Digest } from '../../protocols/digest.ts'

/** Pieces `first … last` that this node may import from the origin now. */
export interface Grant {
  readonly first: number
  readonly last: number
  /** Progress keeps a grant alive; the end, of whatever kind, gives it back. */
  progress(index: number): void
  end(): void
}

/** Who imports what (design 5). The download asks before it goes to the origin for pieces that nobody in the zone has. */
export interface Leases {
  /**
   * Asks for the right to import from the first of `orphans` on.
   * @returns `undefined` when somebody else imports them: they will come from there
   */
  request(digest: Digest, orphans: readonly number[], options: { signal: AbortSignal }): Promise<Grant | undefined>
}

/** A node on its own: whatever nobody has, it imports itself, one contiguous run at a time. */
export const ACTING_ALONE: Leases = Object.freeze({
  async request(_digest: Digest, orphans: readonly number[]): Promise<Grant | undefined> {
    const first = orphans[0]
    if (first === undefined) return undefined
    let last = first
    for (const index of orphans.slice(1)) {
      if (index !== last + 1) break
      last = index
    }
    return { first, last, progress() {}, end() {} }
  },
})
