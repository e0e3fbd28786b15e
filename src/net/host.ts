/**
 * What the rest of shoal sees of the network. The only folder that imports libp2p is this one; `libp2p.ts` is the real
 * host and `memory.ts` the in-memory one, and one conformance suite runs on both.
 */
import type { CID } from 'multiformats/cid'
import type { Channel } from './channel.ts'

/** A peer and where it may be reached: id in base58 text form, multiaddrs in text form (without `/p2p/…` or with its own). */
export interface PeerRef {
  readonly id: string
  readonly addresses: readonly string[]
}

export interface ProtocolLimits {
  /** Streams one peer may hold open to us for this protocol. */
  readonly maxInboundStreams: number
}

export interface TopicMessage {
  /** The peer that signed it, proven by gossipsub. */
  readonly author: string
  readonly data: Uint8Array
}

/** `accept` passes a gossip message on, `ignore` drops it, `reject` drops it and costs the forwarder score. */
export type Verdict = 'accept' | 'ignore' | 'reject'

export interface Topics {
  /** Validates every message before it is passed on; `accept` also delivers to `onMessage`. */
  subscribe(topic: string, validate: (message: TopicMessage) => Verdict, onMessage: (message: TopicMessage) => void): void
  /** Resolves when it was handed to the mesh; with nobody listening it is not an error. */
  publish(topic: string, data: Uint8Array): Promise<void>
}

/** Content routing by DHT. Every answer is a hint. */
export interface Routing {
  provide(cid: CID, options: { signal: AbortSignal }): Promise<void>
  /** Stops re-providing; what other peers recorded lives until it expires. */
  cancel(cid: CID): Promise<void>
  find(cid: CID, options: { signal: AbortSignal }): AsyncIterable<PeerRef>
}

export interface ConnectedPeer {
  readonly id: string
  readonly address: string
  readonly direction: 'inbound' | 'outbound'
  readonly connectedAt: number
  /** Bytes of piece and control traffic are counted by transfer, not here. */
  readonly rttMs: number | undefined
}

export interface Host extends AsyncDisposable {
  /** This node's own peer id, base58 text. */
  readonly peerId: string
  /** What peers are told to dial, with `/p2p/<id>`. */
  addresses(): readonly string[]
  peers(): readonly ConnectedPeer[]
  isConnected(peerId: string): boolean
  /** Connects if need be. @throws ShoalError PEER_UNREACHABLE */
  connect(peer: PeerRef, options: { signal: AbortSignal }): Promise<void>
  /** Opens a stream on the existing (or a new) connection. @throws ShoalError PEER_UNREACHABLE, PEER_REFUSED (protocol not spoken) */
  open(peer: PeerRef, protocol: string, options: { signal: AbortSignal }): Promise<Channel>
  /** Serves a protocol. When `serve` resolves the channel is closed; when it rejects, it is aborted. */
  handle(protocol: string, limits: ProtocolLimits, serve: (channel: Channel) => Promise<void>): Promise<void>
  /** Called on each connect and disconnect of a peer (not of each connection); returns an unsubscribe. */
  onPeer(listener: (event: { readonly type: 'connect' | 'disconnect'; readonly peer: PeerRef }) => void): () => void
  /** Signs with the identity key (Ed25519, 64 bytes). */
  sign(bytes: Uint8Array): Promise<Uint8Array>
  /** Whether `signature` over `bytes` was made by the key behind `peerId`; false for anything malformed. */
  verify(peerId: string, bytes: Uint8Array, signature: Uint8Array): Promise<boolean>
  /** Closes every connection to the peer and refuses new ones until lifted. */
  block(peerId: string): Promise<void>
  unblock(peerId: string): void
  /** `undefined` when the daemon runs with gossip off. */
  readonly topics: Topics | undefined
  /** `undefined` when the daemon runs with the DHT off. */
  readonly routing: Routing | undefined
}
