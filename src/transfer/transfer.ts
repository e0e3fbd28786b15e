/** Moving pieces between this node and its neighbours: one control stream and one data stream each, pipelined (design 6). */
import type { Bitfield } from '../../protocols/bitfield.ts'
import type { Claim } from '../../protocols/claim/codec.ts'
import type { Digest } from '../../protocols/digest.ts'
import type { PeerRef } from '../net/host.ts'

/** What this node can show its peers of one blob. Implemented over the store and the running downloads. */
export interface Holding {
  readonly size: number
  /** Live. */
  readonly have: Bitfield
  readonly complete: boolean
  readonly mediaType: string | undefined
  /** Part of a held piece; `release` when sent and acknowledged or dropped. @throws ShoalError BLOB_UNKNOWN, STORE_CORRUPT */
  read(
    index: number,
    begin: number,
    length: number,
    options: { signal: AbortSignal },
  ): Promise<{ readonly bytes: Uint8Array; release(): void }>
  /** Statements about these pieces, at most a page of them: our own where we verified the whole, else those we received or imported. */
  claims(first: number, count: number): Promise<readonly Claim[]>
  recheck(index: number): Promise<boolean>
  close(): Promise<void>
}

export interface Library {
  /** `undefined` when nothing is held or it may not be shown to peers. Cheap for what is not held. */
  find(digest: Digest): Promise<Holding | undefined>
}

export type NeighbourState = 'connecting' | 'asked' | 'none' | 'partial' | 'complete' | 'failed'

/** A peer as seen from one blob's swarm. */
export interface Neighbour {
  readonly peer: PeerRef
  readonly state: NeighbourState
  /** Set once it said so (partial or complete). */
  readonly size: number | undefined
  readonly have: Bitfield | undefined
  /** What it said of its load, 0 … 255. */
  readonly load: number
  /** Requests to it not yet answered, over all blobs. */
  readonly outstandingPieces: number
  readonly outstandingBytes: number
  /** How many bytes may be outstanding to it now (pace: from measured bandwidth and delay). */
  readonly allowanceBytes: number
  /** Exponentially weighted mean; `undefined` before the first answer. */
  readonly bytesPerSecond: number | undefined
  /** What it took to answer when it was idle, at best, in the last seconds; milliseconds. */
  readonly delayMs: number | undefined
  /** After this many milliseconds without any progress of a request it is worth asking another (from its own history). */
  readonly patienceMs: number
  /** Set after a `busy` answer: do not ask before (monotonic milliseconds). */
  readonly busyUntil: number
}

/** What a peer's answer to a piece request brought: `into` holds the bytes, unverified. */
export interface PieceArrival {
  readonly length: number
  readonly size: number
  readonly mediaType: string | undefined
}

export interface RequestOptions {
  readonly signal: AbortSignal
  /** Gets the bytes that have arrived so far. */
  readonly onProgress?: ((bytes: number) => void) | undefined
  /**
   * Asks the peer for a claim about the piece, which then comes in front of it. Called before `request` resolves, while the piece is on
   * its way if it can be: with the claim, once its signature has been checked, or `undefined` when the peer sends none. Not for blobs of one piece.
   */
  readonly onClaim?: ((claim: Claim | undefined) => void) | undefined
  /**
   * Called once, when nothing more can come for the request: at its end, or, when it was cancelled, once the peer has seen that too. Gets
   * the bytes that came for it in vain.
   */
  readonly onOver?: ((wastedBytes: number) => void) | undefined
}

/** One blob's swarm as this node takes part in it. */
export interface Swarm extends AsyncDisposable {
  /**
   * Takes a peer in: connects, opens its control stream, sends `want`. Idempotent; failures show as state `failed`. A failed one is tried
   * again by itself for a while, with growing pauses, and when it is added again; one that broke the protocol only then.
   */
  add(peer: PeerRef): void
  /** Leaves a peer out: it is asked nothing more and told nothing more about this blob. */
  remove(peerId: string): void
  neighbours(): readonly Neighbour[]
  /** Members that are known and have no place among the neighbours, whose number is bounded. */
  readonly waiting: number
  /** Gives the places of these neighbours to others who wait, as long as any do; they are not taken back for a while unless there is room. */
  exchange(peerIds: readonly string[]): void
  /** Calls back (coalesced to a microtask) whenever a neighbour's state, bitfield, or capacity changed. */
  onChange(listener: () => void): () => void
  /**
   * Asks for one piece; its bytes land in `into` from 0 on. For a peer whose blob size is not known yet, `into` is
   * MIN_PIECE_BYTES and index 0: a blob of one piece then takes one round trip.
   * @throws ShoalError PEER_LACKS_PIECE (also when too large for `into`: its size is then in `neighbours()`), PEER_BUSY, PEER_REFUSED,
   * PEER_GONE, PEER_TIMEOUT (the link could not be opened, or was silent for long), PEER_UNREACHABLE, MESSAGE_MALFORMED, CLAIM_INVALID
   * (a forged one came with it: the link is dropped), or the signal's reason (the request is cancelled at the peer). Once it has settled,
   * `into` is not touched any more.
   */
  request(peerId: string, index: number, into: Uint8Array, options: RequestOptions): Promise<PieceArrival>
  /**
   * Fetches the peer's statements about these pieces, about the first MAX_CLAIMS_PIECES of them if there are more; their signatures
   * have been checked and they are about this blob.
   * @throws as request, and CLAIM_INVALID (a forged one: the link is dropped)
   */
  claims(peerId: string, first: number, count: number, options: { signal: AbortSignal }): Promise<readonly Claim[]>
  /** Tells all neighbours that want this blob which pieces we came to hold (batched, a few ms to tens of ms). */
  have(indices: readonly number[]): void
  /** Tells a peer that what it sent was wrong. */
  report(peerId: string, index: number): void
}

/** What the node shows of a peer. */
export interface PeerTraffic {
  readonly peerId: string
  readonly receivedBytes: number
  readonly sentBytes: number
  readonly bytesPerSecond: number | undefined
}

export interface Transfer extends AsyncDisposable {
  /** Joins a blob's swarm. Joining twice shares the links but not the state. */
  join(digest: Digest): Swarm
  traffic(): readonly PeerTraffic[]
  /** How busy this node is with what peers have asked of it: 0 idle … 255. */
  readonly load: number
  /** Piece bytes sent to peers since the start. */
  readonly servedBytes: number
  /** The blob is no longer held, or newly held outside a swarm: neighbours that want it are told. */
  refresh(digest: Digest): void
}
