/** Who may hold a blob. Answers are hints: a wrong one costs a refused request, never a wrong byte. */
import type { Digest } from '../../protocols/digest.ts'
import type { ZoneLabel } from '../../protocols/zone.ts'
import type { PeerRef } from '../net/host.ts'

export interface Candidate {
  readonly peer: PeerRef
  /** `holder`: said to hold the whole. `member`: stands in our zone, may want or hold it too. */
  readonly reason: 'holder' | 'member'
  readonly source: 'gossip' | 'dht' | 'zone'
  readonly label: ZoneLabel | undefined
}

/** A member of this node's zone, as its last beacon said. */
export interface Member {
  readonly peer: PeerRef
  readonly label: ZoneLabel
  readonly load: number
  readonly version: string
  readonly roles: readonly string[]
  /** When it was last heard of, on the monotonic clock, milliseconds. */
  readonly heardAt: number
}

export interface Discovery extends AsyncDisposable {
  /**
   * Candidates as they become known, each peer at most once per source: holders from gossip and zone members at once, then the DHT's.
   * Ends when every source has answered or failed; a source that fails is skipped.
   * @param options.further the DHT is asked when it resolves: where a whole zone wants a blob, few need to ask
   */
  find(digest: Digest, options: { signal: AbortSignal; further?: Promise<void> | undefined }): AsyncIterable<Candidate>
  /** Tells the mesh that this node holds the whole blob: queued, batched, repeated as records age. */
  announce(digest: Digest): void
  withdraw(digest: Digest): void
  /** A candidate turned out stale: do not offer it for this blob for a while. */
  forget(digest: Digest, peerId: string): void
  /** This node's zone, without itself. */
  members(): readonly Member[]
}
