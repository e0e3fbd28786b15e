import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import type { Metrics } from './metrics.ts'

/** Read when the metrics are; nothing polls. */
export interface Gauges {
  readonly connectedPeers: () => number
  readonly storedBytes?: (() => number | Promise<number>) | undefined
}

export interface Prometheus extends Metrics {
  /** The exposition format, version 0.0.4. */
  text(): Promise<string>
  readonly contentType: string
}

/** Counts in a registry of its own, so that two nodes in one process stay apart; every label value shows from the start, as 0. */
export function createPrometheus(gauges: Gauges): Prometheus {
  const registers = [new Registry()]
  const [registry] = registers as [Registry]
  collectDefaultMetrics({ register: registry })

  function counter<L extends string>(
    name: string,
    help: string,
    label: string,
    values: readonly L[],
  ): (value: L, by: number) => void {
    const metric = new Counter({ name, help, labelNames: [label], registers })
    for (const value of values) metric.inc({ [label]: value }, 0)
    return (value, by) => metric.inc({ [label]: value }, by)
  }

  const downloaded = counter('shoal_download_bytes_total', 'Verified bytes that came into the store', 'source', [
    'origin',
    'peer',
  ])
  const served = counter('shoal_served_bytes_total', 'Bytes of content sent', 'to', ['peer', 'client'])
  const failed = counter('shoal_pieces_failed_total', 'Pieces whose hash was wrong', 'where', ['peer', 'origin', 'disk'])
  const ended = counter('shoal_downloads_total', 'Downloads that ended', 'outcome', ['complete', 'cancelled', 'failed'])
  const wasted = new Counter({ name: 'shoal_wasted_bytes_total', help: 'Piece bytes received that were already held', registers })

  function gauge(name: string, help: string, read: () => number | Promise<number>): void {
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        this.set(await read())
      },
    })
  }
  gauge('shoal_connected_peers', 'Peers with an open connection', gauges.connectedPeers)
  if (gauges.storedBytes !== undefined) gauge('shoal_stored_bytes', 'Bytes of content held', gauges.storedBytes)

  return {
    downloaded,
    served,
    pieceFailed: (where) => failed(where, 1),
    wasted: (bytes) => wasted.inc(bytes),
    downloadEnded: (outcome) => ended(outcome, 1),
    text: () => registry.metrics(),
    contentType: registry.contentType,
  }
}
