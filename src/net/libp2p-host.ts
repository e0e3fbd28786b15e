import type { Connection, Stream } from '@libp2p/interface'
import { peerIdFromString } from '@libp2p/peer-id'
import { codeOf } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import { dialable } from './addresses.ts'
import type { Channel } from './channel.ts'
import { Connections } from './connections.ts'
import type { Gater } from './gater.ts'
import type { ConnectedPeer, Host, PeerRef, ProtocolLimits, Routing, Topics } from './host.ts'
import { type Identity, sign, verify } from './identity.ts'
import { Libp2pChannel } from './libp2p-channel.ts'
import type { ShoalLibp2p } from './libp2p-node.ts'
import { hostClosed, peerBlocked, peerRefused, peerUnreachable } from './peer-errors.ts'
import { createRouting } from './routing.ts'
import { serveStream } from './serve-stream.ts'
import { createTopics } from './topics.ts'

export interface Libp2pHostParts {
  readonly identity: Identity
  readonly gater: Gater
  readonly log: Log
}

export class Libp2pHost implements Host {
  readonly peerId: string
  readonly topics: Topics | undefined
  readonly routing: Routing | undefined
  readonly #node: ShoalLibp2p
  readonly #parts: Libp2pHostParts
  readonly #connections: Connections
  #resources: AsyncDisposable | undefined
  #open = true

  constructor(node: ShoalLibp2p, parts: Libp2pHostParts) {
    this.#node = node
    this.#parts = parts
    this.peerId = node.peerId.toString()
    this.topics = node.services.gossip === undefined ? undefined : createTopics(node.services.gossip)
    this.routing = node.services.dht === undefined ? undefined : createRouting(node, parts.log)
    this.#connections = new Connections(node)
  }

  /** What goes when the host goes. */
  own(resources: AsyncDisposable): void {
    this.#resources = resources
  }

  addresses(): readonly string[] {
    return this.#node.getMultiaddrs().map((address) => address.toString())
  }

  peers(): readonly ConnectedPeer[] {
    return this.#connections.peers()
  }

  isConnected(peerId: string): boolean {
    return this.#connections.get(peerId) !== undefined
  }

  async connect(peer: PeerRef, options: { signal: AbortSignal }): Promise<void> {
    await this.#connection(peer, options.signal)
  }

  async open(peer: PeerRef, protocol: string, { signal }: { signal: AbortSignal }): Promise<Channel> {
    const connection = await this.#connection(peer, signal)
    try {
      return await this.#openOn(connection, protocol, signal)
    } catch (error) {
      // It may have died without anybody having noticed; then a new one is tried, once.
      if (codeOf(error) !== 'PEER_UNREACHABLE' || connection.status === 'open') throw error
    }
    return this.#openOn(await this.#connection(peer, signal), protocol, signal)
  }

  async handle(protocol: string, limits: ProtocolLimits, serve: (channel: Channel) => Promise<void>): Promise<void> {
    const handler = (stream: Stream, connection: Connection) =>
      serveStream(new Libp2pChannel(stream, connection.remotePeer.toString()), serve, this.#parts.log)
    await this.#node.handle(protocol, handler, { ...limits, force: true })
  }

  onPeer(listener: Parameters<Host['onPeer']>[0]): () => void {
    return this.#connections.on(listener)
  }

  sign(bytes: Uint8Array): Promise<Uint8Array> {
    return sign(this.#parts.identity, bytes)
  }

  verify(peerId: string, bytes: Uint8Array, signature: Uint8Array): Promise<boolean> {
    return verify(peerId, bytes, signature)
  }

  async block(peerId: string): Promise<void> {
    this.#parts.gater.blocked.add(peerId)
    for (const connection of this.#connections.all(peerId)) connection.abort(new Error('the peer was blocked'))
  }

  unblock(peerId: string): void {
    this.#parts.gater.blocked.delete(peerId)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#open) return
    this.#open = false
    await this.#resources?.[Symbol.asyncDispose]()
  }

  async #connection(peer: PeerRef, signal: AbortSignal): Promise<Connection> {
    signal.throwIfAborted()
    if (!this.#open) throw hostClosed()
    if (this.#parts.gater.blocked.has(peer.id)) throw peerBlocked(peer.id)
    const existing = this.#connections.get(peer.id)
    if (existing !== undefined) return existing
    try {
      const addresses = dialable(peer)
      return await this.#node.dial(addresses.length > 0 ? addresses : peerIdFromString(peer.id), { signal })
    } catch (cause) {
      signal.throwIfAborted()
      throw peerUnreachable(peer.id, cause)
    }
  }

  async #openOn(connection: Connection, protocol: string, signal: AbortSignal): Promise<Channel> {
    const peerId = connection.remotePeer.toString()
    try {
      return new Libp2pChannel(await connection.newStream(protocol, { signal, maxOutboundStreams: Infinity }), peerId)
    } catch (cause) {
      signal.throwIfAborted()
      if ((cause as Error).name === 'UnsupportedProtocolError') throw peerRefused(peerId, protocol, cause)
      throw peerUnreachable(peerId, cause)
    }
  }
}
