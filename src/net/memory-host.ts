import { SILENT } from '../telemetry/log.ts'
import type { Channel } from './channel.ts'
import type { ConnectedPeer, Host, PeerRef, ProtocolLimits, Routing, Topics } from './host.ts'
import { type Identity, sign, verify } from './identity.ts'
import type { MemoryWorld, Subscription } from './memory.ts'
import { createChannelPair, type MemoryChannel } from './memory-channel.ts'
import { createMemoryRouting } from './memory-routing.ts'
import { createMemoryTopics } from './memory-topics.ts'
import { hostClosed, peerBlocked, peerRefused, peerUnreachable } from './peer-errors.ts'
import { createPeerEvents } from './peer-events.ts'
import { serveStream } from './serve-stream.ts'

/** One side's view of a connection. */
interface Link {
  readonly peer: PeerRef
  readonly direction: 'inbound' | 'outbound'
  readonly connectedAt: number
  readonly channels: Set<MemoryChannel>
}

interface Service {
  readonly limits: ProtocolLimits
  serve(channel: Channel): Promise<void>
}

export interface MemoryHostSettings {
  readonly address: string
  readonly topics: boolean
  readonly routing: boolean
}

export class MemoryHost implements Host {
  readonly peerId: string
  readonly topics: Topics | undefined
  readonly routing: Routing | undefined
  readonly subscriptions = new Map<string, Subscription>()
  readonly #world: MemoryWorld
  readonly #identity: Identity
  readonly #self: PeerRef
  readonly #links = new Map<string, Link>()
  readonly #services = new Map<string, Service>()
  readonly #blocked = new Set<string>()
  readonly #events = createPeerEvents()
  #open = true

  constructor(world: MemoryWorld, identity: Identity, settings: MemoryHostSettings) {
    this.peerId = identity.peerId
    this.#world = world
    this.#identity = identity
    this.#self = { id: identity.peerId, addresses: [`${settings.address}/p2p/${identity.peerId}`] }
    this.topics = settings.topics ? createMemoryTopics(world, this.peerId, this.subscriptions) : undefined
    this.routing = settings.routing ? createMemoryRouting(world, this.#self) : undefined
    world.hosts.set(this.peerId, this)
  }

  addresses(): readonly string[] {
    return this.#self.addresses
  }

  peers(): readonly ConnectedPeer[] {
    return [...this.#links.values()].map(({ peer, direction, connectedAt }) => {
      return { id: peer.id, address: peer.addresses[0] as string, direction, connectedAt, rttMs: undefined }
    })
  }

  isConnected(peerId: string): boolean {
    return this.#links.has(peerId)
  }

  async connect(peer: PeerRef, { signal }: { signal: AbortSignal }): Promise<void> {
    await undefined
    signal.throwIfAborted()
    if (!this.#open) throw hostClosed()
    if (this.#links.has(peer.id)) return
    if (this.#blocked.has(peer.id)) throw peerBlocked(peer.id)
    const other = this.#world.hosts.get(peer.id)
    if (other === undefined || other === this || !this.#world.reachable(this.peerId, peer.id)) throw peerUnreachable(peer.id)
    if (!peer.addresses.some((address) => other.answersAt(address))) throw peerUnreachable(peer.id)
    if (!other.#link(this.#self, 'inbound')) throw peerUnreachable(peer.id)
    this.#link(other.#self, 'outbound')
  }

  async open(peer: PeerRef, protocol: string, options: { signal: AbortSignal }): Promise<Channel> {
    await this.connect(peer, options)
    const [mine, theirs] = createChannelPair(this.peerId, peer.id, { ...this.#world, protocol })
    this.#track(mine)
    const other = this.#world.hosts.get(peer.id)
    const served = other === undefined ? false : other.#serve(protocol, theirs)
    if (served) return mine
    mine.fail(new Error('refused'))
    throw peerRefused(peer.id, protocol)
  }

  async handle(protocol: string, limits: ProtocolLimits, serve: (channel: Channel) => Promise<void>): Promise<void> {
    this.#services.set(protocol, { limits, serve })
  }

  onPeer(listener: Parameters<Host['onPeer']>[0]): () => void {
    return this.#events.on(listener)
  }

  sign(bytes: Uint8Array): Promise<Uint8Array> {
    return sign(this.#identity, bytes)
  }

  verify(peerId: string, bytes: Uint8Array, signature: Uint8Array): Promise<boolean> {
    return verify(peerId, bytes, signature)
  }

  async block(peerId: string): Promise<void> {
    this.#blocked.add(peerId)
    this.drop(peerId)
  }

  unblock(peerId: string): void {
    this.#blocked.delete(peerId)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#open = false
    for (const peerId of this.#links.keys()) this.drop(peerId)
    if (this.#world.hosts.get(this.peerId) === this) this.#world.hosts.delete(this.peerId)
  }

  answersAt(address: string): boolean {
    return this.#self.addresses.some((own) => own === address || own.startsWith(`${address}/p2p/`))
  }

  /** Loses the connection to the peer, on both sides. */
  drop(peerId: string): void {
    this.#lose(peerId)
    const other = this.#world.hosts.get(peerId)
    if (other !== undefined) other.#lose(this.peerId)
  }

  #link(peer: PeerRef, direction: Link['direction']): boolean {
    if (!this.#open || this.#blocked.has(peer.id)) return false
    if (this.#links.has(peer.id)) return true
    this.#links.set(peer.id, { peer, direction, connectedAt: Date.now(), channels: new Set() })
    queueMicrotask(() => this.#events.emit({ type: 'connect', peer }))
    return true
  }

  #lose(peerId: string): void {
    const link = this.#links.get(peerId)
    if (link === undefined) return
    this.#links.delete(peerId)
    for (const channel of link.channels) channel.fail(new Error('connection lost'))
    queueMicrotask(() => this.#events.emit({ type: 'disconnect', peer: link.peer }))
  }

  /** @returns false when the protocol is not served here */
  #serve(protocol: string, channel: MemoryChannel): boolean {
    const service = this.#services.get(protocol)
    if (service === undefined) return false
    const open = [...(this.#links.get(channel.peerId)?.channels ?? [])].filter((other) => other.serves(protocol))
    this.#track(channel)
    // As libp2p does: a stream too many is reset after its protocol has been agreed.
    if (open.length >= service.limits.maxInboundStreams) channel.abort(new Error('too many streams'))
    else queueMicrotask(() => void serveStream(channel, service.serve, SILENT))
    return true
  }

  #track(channel: MemoryChannel): void {
    const channels = this.#links.get(channel.peerId)?.channels
    channels?.add(channel)
    channel.closed.addEventListener('abort', () => channels?.delete(channel), { once: true })
  }
}
