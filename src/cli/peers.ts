import type { BanInfo, PeerInfo } from '../node.ts'
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

/** `shoal peers --banned`: whom the node does not deal with, why, and for how long. */
export async function bannedPeers(session: Session): Promise<void> {
  const { bans } = await session.client.json<{ bans: BanInfo[] }>('GET', '/v1/bans', { signal: session.signal })
  const rows = bans.map(({ peerId, by, until, reason, evidence }) => [
    peerId,
    by,
    `${until.slice(0, 19)}Z`,
    String(evidence.length),
    reason,
  ])
  const head = ['PEER', 'BY', 'UNTIL', 'STATEMENTS', 'REASON']
  const table = () =>
    formatTable(
      head,
      rows.map((row) => row.map(printable)),
    )
  session.print(bans, rows.length === 0 ? 'no banned peers\n' : table())
}
