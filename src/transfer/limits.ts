const KiB = 1024
const MiB = 1024 * KiB

/** What moving pieces may cost this node. Bytes and milliseconds. */
export interface TransferLimits {
  /** Peers in one blob's swarm. */
  readonly maxNeighbours: number
  /** Bounds of what may be outstanding to one peer, and where it starts (design 6, 11). */
  readonly minOutstandingBytes: number
  readonly maxOutstandingBytes: number
  readonly startOutstandingBytes: number
  /** Bounds of the time after which a silent request is worth asking another peer for, and where it starts. */
  readonly minPatienceMs: number
  readonly maxPatienceMs: number
  readonly startPatienceMs: number
  /** A stream that we opened is closed when it was not needed for so long. */
  readonly idleMs: number
  /** Opening a stream, with the connection if need be. */
  readonly openMs: number
  /** A peer that owes us pieces or claims and sends nothing at all for so long is let go. */
  readonly silenceMs: number
  /** Requests of one peer that wait here; more are answered `busy`. */
  readonly queuedRequests: number
  /** Bytes that all peers together may have asked for and not been sent; then who has something waiting is answered `busy`. */
  readonly queuedBytes: number
  /** Parts of pieces being read or written at a time, over all peers, each of at most `partBytes`. */
  readonly slots: number
  readonly partBytes: number
  /** A slot whose peer took nothing for so long no longer counts as one … */
  readonly staleMs: number
  /** … but that many parts in memory is the end: then the stalest peer is let go. */
  readonly maxSlots: number
  /** A peer that asked for bytes and takes none for so long is let go. */
  readonly stallMs: number
  /** Blobs that one peer may want at a time. */
  readonly wantsPerPeer: number
  /** HAVEs are gathered for so long before they are sent; for longer the more peers there are to be told, up to the second. */
  readonly haveMs: number
  readonly maxHaveMs: number
  /** Re-reads that one peer's bad-piece reports may cause: a burst, then one each so many milliseconds. */
  readonly recheckBurst: number
  readonly recheckEveryMs: number
}

export const DEFAULT_LIMITS: TransferLimits = Object.freeze({
  maxNeighbours: 64,
  minOutstandingBytes: 1 * MiB,
  maxOutstandingBytes: 8 * MiB,
  startOutstandingBytes: 2 * MiB,
  minPatienceMs: 2_000,
  maxPatienceMs: 10_000,
  startPatienceMs: 3_000,
  idleMs: 60_000,
  openMs: 10_000,
  silenceMs: 30_000,
  queuedRequests: 64,
  queuedBytes: 32 * MiB,
  slots: 16,
  partBytes: 1 * MiB,
  staleMs: 500,
  maxSlots: 64,
  stallMs: 30_000,
  wantsPerPeer: 1_024,
  haveMs: 15,
  maxHaveMs: 400,
  recheckBurst: 8,
  recheckEveryMs: 1_000,
})

/** A part is read for one peer while others wait: under a rate limit, parts are as short as makes a round of all slots take a second. */
const MIN_PART_BYTES = 16 * KiB

export function limitsUnder(bytesPerSecond: number | undefined, limits: TransferLimits): TransferLimits {
  if (bytesPerSecond === undefined) return limits
  const fair = Math.floor(bytesPerSecond / limits.slots)
  return { ...limits, partBytes: Math.min(limits.partBytes, Math.max(MIN_PART_BYTES, fair)) }
}
