import type { DownloadProgress } from '../download/download.ts'
import type { NodeStatus } from '../node.ts'
import { formatRate } from '../rates.ts'
import { formatBytes, formatMs, formatTable, printable } from './format.ts'
import type { Session } from './session.ts'

/** `shoal status`. */
export async function status(session: Session): Promise<void> {
  const answer = await session.client.json<NodeStatus>('GET', '/v1/status', { signal: session.signal })
  session.print(answer, printableLines(describe(answer, Date.now())))
}

function describe(status: NodeStatus, now: number): string {
  const { store, downloads, limits, pausedOrigins } = status
  const { uploadBytesPerSecond: up, downloadBytesPerSecond: down } = limits
  const lines = [
    ['peer', status.peerId],
    ['version', `${status.version}, up ${formatMs(Math.max(0, now - Date.parse(status.startedAt)))}`],
    ['zone', status.zone],
    ...status.addresses.map((address) => ['address', address]),
    ['mirror', status.mirror ?? 'off'],
    ['control', status.control ?? 'off'],
    ['peers', `${status.connectedPeers} connected`],
    ...(up === undefined && down === undefined ? [] : [['limits', `up ${formatRate(up)}, down ${formatRate(down)}`]]),
    ...pausedOrigins.map((paused) => ['paused', describePause(paused)]),
    ['store', `${store.blobs} blobs, ${formatBytes(store.bytes)}${store.path === undefined ? '' : ` in ${store.path}`}`],
  ]
  const head = lines.map(([key = '', value]) => `${key.padEnd(8)} ${value}\n`).join('')
  return downloads.length === 0
    ? head
    : `${head}\n${formatTable(['DOWNLOADING', 'HELD', 'OF', 'PEERS', 'ORIGIN', 'NEIGHBOURS'], downloads.map(row))}`
}

function describePause({ origin, who, forMs, author }: NodeStatus['pausedOrigins'][number]): string {
  return `${origin} for ${who}, ${formatMs(forMs)} more${author === undefined ? '' : `, says ${author}`}`
}

function row(download: DownloadProgress): string[] {
  const { digest, heldBytes, size, fromPeersBytes, fromOriginBytes, neighbours } = download
  const of = size === undefined ? '?' : formatBytes(size)
  return [
    String(digest),
    formatBytes(heldBytes),
    of,
    formatBytes(fromPeersBytes),
    formatBytes(fromOriginBytes),
    String(neighbours),
  ]
}

function printableLines(text: string): string {
  return text.split('\n').map(printable).join('\n')
}
