import type { PeerInfo } from '../node.ts'
import { formatBytes, formatTable, printable } from './format.ts'
import type { Session } from './session.ts'

/** `shoal peers`: whom the node knows, and what went between them. */
export async function peers(session: Session): Promise<void> {
  const answer = await session.client.json<{ peers: PeerInfo[] }>('GET', '/v1/peers', { signal: session.signal })
  const rows = answer.peers.map((peer) => [
    peer.peerId,
    peer.ban === undefined
      ? peer.connected
        ? 'connected'
        : 'known'
      : `banned until ${peer.ban.until.slice(0, 19)}: ${peer.ban.reason}`,
    peer.zone ?? '-',
    peer.rttMs === undefined ? '-' : `${peer.rttMs.toFixed(1)} ms`,
    formatBytes(peer.receivedBytes),
    formatBytes(peer.sentBytes),
    peer.address ?? '-',
  ])
  const head = ['PEER', 'STATE', 'ZONE', 'RTT', 'RECEIVED', 'SENT', 'ADDRESS']
  session.print(
    answer.peers,
    rows.length === 0
      ? 'no peers\n'
      : formatTable(
          head,
          rows.map((row) => row.map(printable)),
        ),
  )
}
