/** Bytes of queued work at which a node calls itself half loaded. */
const HALF_BYTES = 8 * 1024 * 1024

/** How busy a node is that has so many bytes asked of it and not yet sent: 0 idle, 128 at 8 MiB, towards 255. */
export function loadOf(queuedBytes: number): number {
  return Math.min(255, Math.round((255 * queuedBytes) / (queuedBytes + HALF_BYTES)))
}
