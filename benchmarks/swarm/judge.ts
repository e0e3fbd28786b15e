import type { ImageBlob } from '../../examples/demo/image.ts'
import type { HostDaemon } from './host-daemon.ts'

/** What a daemon says when all is over. */
export interface Judged {
  readonly fromOriginBytes: number
  readonly fromPeersBytes: number
  /** Of pieces that it already had. */
  readonly wastedBytes: number
  readonly failedPieces: number
  /** Blobs that it calls complete although they are not what their digest says. */
  readonly wrongCommitted: number
  /** Peers that it has banned with something they signed as the evidence. */
  readonly banned: readonly string[]
}

const NOTHING: Judged = Object.freeze({
  fromOriginBytes: 0,
  fromPeersBytes: 0,
  wastedBytes: 0,
  failedPieces: 0,
  wrongCommitted: 0,
  banned: [],
})

/** @param check whether to hash what it holds */
export async function judge(daemon: HostDaemon, blobs: readonly ImageBlob[], check: boolean): Promise<Judged> {
  if (daemon.killed) return NOTHING
  const metrics = await daemon.metrics()
  const value = (name: string): number => metrics.get(name) ?? 0
  const wheres = ['peer', 'origin', 'disk']
  return {
    fromOriginBytes: value('shoal_download_bytes_total{source="origin"}'),
    fromPeersBytes: value('shoal_download_bytes_total{source="peer"}'),
    wastedBytes: value('shoal_wasted_bytes_total'),
    failedPieces: wheres.reduce((sum, where) => sum + value(`shoal_pieces_failed_total{where="${where}"}`), 0),
    wrongCommitted: check ? await wrongCommitted(daemon, blobs) : 0,
    banned: (await daemon.bans()).filter(({ evidence }) => evidence.length > 0).map(({ peerId }) => peerId),
  }
}

async function wrongCommitted(daemon: HostDaemon, blobs: readonly ImageBlob[]): Promise<number> {
  const complete = await daemon.complete()
  let wrong = 0
  for (const { digest } of blobs)
    if (complete.has(String(digest)) && (await daemon.sha256(String(digest))) !== digest.hex) wrong++
  return wrong
}
