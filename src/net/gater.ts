import type { ConnectionGater } from '@libp2p/interface'

/** Says who may connect. Asked after Noise has proven the peer id, and before a peer is dialled. */
export interface Gater {
  readonly rules: ConnectionGater
  readonly blocked: Set<string>
}

export function createGater(): Gater {
  const blocked = new Set<string>()
  const denied = (peerId: { toString(): string }) => blocked.has(peerId.toString())
  return {
    blocked,
    rules: { denyDialPeer: denied, denyInboundEncryptedConnection: denied, denyOutboundEncryptedConnection: denied },
  }
}
