import { ShoalError } from '../errors.ts'

export function peerGone(peerId: string, cause?: unknown): ShoalError {
  return new ShoalError('PEER_GONE', 'the peer closed the stream or the connection', { cause, detail: { peerId } })
}

export function peerUnreachable(peerId: string, cause?: unknown): ShoalError {
  return new ShoalError('PEER_UNREACHABLE', 'no connection to the peer', { cause, detail: { peerId } })
}

export function peerRefused(peerId: string, protocol: string, cause?: unknown): ShoalError {
  return new ShoalError('PEER_REFUSED', `the peer does not speak ${protocol}`, { cause, detail: { peerId, protocol } })
}

export function peerBlocked(peerId: string): ShoalError {
  return new ShoalError('PEER_REFUSED', 'the peer is blocked here', { detail: { peerId } })
}

export function hostClosed(): ShoalError {
  return new ShoalError('NODE_CLOSED', 'the host is closed')
}
