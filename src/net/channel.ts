/**
 * The best size of one write: four full Noise frames of 65,519 bytes less yamux's header of 12. A write that is a few
 * bytes longer costs another small frame, with its own cipher set-up.
 */
export const WRITE_BYTES = 4 * 65_519 - 12

/**
 * One stream with back-pressure that holds, both ways; the one place that knows libp2p's traps.
 * A channel ends by `close` (after what was written has been flushed) or `abort`.
 */
export interface Channel {
  /** The peer at the other end, proven by Noise. */
  readonly peerId: string
  readonly protocol: string
  /**
   * Hands every chunk to `sink` in arrival order, as it arrives and without copying. When `sink` returns a promise,
   * nothing more is delivered until it settles, and the sender is held back. Resolves at the remote's clean end.
   * Call once. @throws ShoalError PEER_GONE on reset or lost connection; what `sink` throws, after aborting the stream
   */
  read(sink: (chunk: Uint8Array) => void | Promise<void>): Promise<void>
  /**
   * Sends the parts in order, by reference: do not touch them again until the other end has acknowledged them in its
   * own protocol. Resolves when there is room for more; so a caller that awaits holds at most one write in memory.
   * Concurrent writes keep their call order. @throws ShoalError PEER_GONE
   */
  write(parts: readonly Uint8Array[]): Promise<void>
  /** Bytes written that the other end is not known to have taken in, as far as the transport tells; it may be told late, unless that end acknowledges. */
  readonly unacknowledgedBytes: number
  /** Tells the other end now that all that came was taken in, where the transport would put that off. */
  acknowledge(): void
  /** Ends our side after flushing. */
  close(): Promise<void>
  /** Ends both sides at once. */
  abort(reason: Error): void
  /** Fires once when the channel is over for whatever reason. */
  readonly closed: AbortSignal
}
