import type { Channel } from './channel.ts'
import type { ConnectedPeer, Host, PeerRef, ProtocolLimits, Routing, Topics } from './host.ts'
import { type Identity, sign, verify } from './identity.ts'
import type { MemoryWorld, Subscription } from './memory.ts'
import { createChannelPair, type MemoryChannel } from './memory-channel.ts'
import { hostClosed, peerBlocked, peerRefused, peerUnreachable } from './peer-errors.ts'
import { createPeerEvents } from './peer-events.ts'

/** What the hosts of one network may ask of each other. */
export interface MemoryHost extends Host {
  readonly subscriptions: ReadonlyMap<string, Subscription>
  /** Loses the connection to the peer, on both sides. */
  drop(peerId: string): void
  /** The answering side of a connect; false when blocked. */
  accept(link: Link): boolean
  lose(peerId: string): void
  /** The answering side of an open; `undefined` when the protocol is not served. */
  serve(protocol: string, channel: MemoryChannel): boolean
}

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

export function createMemoryHost(world: MemoryWorld, identity: Identity, settings: MemoryHostSettings): MemoryHost {
  const self = identity.peerId
  const address = `${settings.address}/p2p/${self}`
  const links = new Map<string, Link>()
  const services = new Map<string, Service>()
  const blocked = new Set<string>()
  const subscriptions = new Map<string, Subscription>()
  const events = createPeerEvents()
  let open = true

  const lose = (peerId: string) => {
    const link = links.get(peerId)
    if (link === undefined) return
    links.delete(peerId)
    for (const channel of link.channels) channel.fail(new Error('connection lost'))
    events.emit({ type: 'disconnect', peer: link.peer })
  }
  const drop = (peerId: string) => {
    lose(peerId)
    world.hosts.get(peerId)?.lose(self)
  }
  const accept = (link: Link) => {
    if (!open || blocked.has(link.peer.id)) return false
    if (links.has(link.peer.id)) return true
    links.set(link.peer.id, link)
    queueMicrotask(() => links.get(link.peer.id) === link && events.emit({ type: 'connect', peer: link.peer }))
    return true
  }
  const newLink = (id: string, theirs: string, direction: Link['direction']): Link => ({
    peer: { id, addresses: [theirs] },
    direction,
    connectedAt: Date.now(),
    channels: new Set(),
  })
  const track = (channel: MemoryChannel) => {
    const channels = links.get(channel.peerId)?.channels
    channels?.add(channel)
    channel.closed.addEventListener('abort', () => channels?.delete(channel), { once: true })
  }
  const connect = async (peer: PeerRef, signal: AbortSignal) => {
    await undefined
    signal.throwIfAborted()
    if (!open) throw hostClosed()
    if (links.has(peer.id)) return
    if (blocked.has(peer.id)) throw peerBlocked(peer.id)
    const other = world.hosts.get(peer.id)
    const known =
      other !== undefined && peer.addresses.some((a) => other.addresses().some((b) => b === a || b.startsWith(`${a}/p2p/`)))
    if (!known || peer.id === self || !world.reachable(self, peer.id)) throw peerUnreachable(peer.id)
    if (!other.accept(newLink(self, address, 'inbound'))) throw peerUnreachable(peer.id)
    accept(newLink(peer.id, other.addresses()[0] as string, 'outbound'))
  }

  const host: MemoryHost = {
    peerId: self,
    subscriptions,
    topics: settings.topics ? createTopics(world, self, subscriptions) : undefined,
    routing: settings.routing ? createRouting(world, { id: self, addresses: [address] }) : undefined,
    drop,
    lose,
    accept,
    addresses: () => [address],
    peers: () => [...links.values()].map(describe),
    isConnected: (peerId) => links.has(peerId),
    connect: (peer, { signal }) => connect(peer, signal),
    open: async (peer, protocol, { signal }) => {
      await connect(peer, signal)
      const [mine, theirs] = createChannelPair(self, peer.id, { ...world, protocol })
      track(mine)
      if (world.hosts.get(peer.id)?.serve(protocol, theirs)) return mine
      mine.fail(new Error('refused'))
      throw peerRefused(peer.id, protocol)
    },
    serve: (protocol, channel) => {
      const service = services.get(protocol)
      if (service === undefined) return false
      const inbound = [...(links.get(channel.peerId)?.channels ?? [])].filter(
        (c) => c.protocol === protocol && c.direction === 'inbound',
      )
      track(channel)
      // As libp2p does: too many streams are reset after the protocol has been agreed.
      if (inbound.length >= service.limits.maxInboundStreams) channel.abort(new Error('too many streams'))
      else run(service, channel)
      return true
    },
    handle: async (protocol, limits, serve) => {
      services.set(protocol, { limits, serve })
    },
    onPeer: events.on,
    sign: (bytes) => sign(identity, bytes),
    verify,
    block: async (peerId) => {
      blocked.add(peerId)
      drop(peerId)
    },
    unblock: (peerId) => void blocked.delete(peerId),
    [Symbol.asyncDispose]: async () => {
      open = false
      for (const peerId of links.keys()) drop(peerId)
      if (world.hosts.get(self) === host) world.hosts.delete(self)
    },
  }
  world.hosts.set(self, host)
  return host
}

/** `serve` resolves: closed; rejects: aborted. */
function run(service: Service, channel: MemoryChannel): void {
  queueMicrotask(() => {
    service.serve(channel).then(
      () => channel.close(),
      (error) => channel.abort(error),
    )
  })
}

function describe(link: Link): ConnectedPeer {
  const { direction, connectedAt } = link
  return { id: link.peer.id, address: link.peer.addresses[0] as string, direction, connectedAt, rttMs: undefined }
}

function createTopics(world: MemoryWorld, self: string, subscriptions: Map<string, Subscription>): Topics {
  return {
    subscribe: (topic, validate, onMessage) => {
      subscriptions.set(topic, { validate, deliver: onMessage })
    },
    publish: async (topic, data) => {
      const message = { author: self, data: data.slice() }
      for (const [peerId, host] of world.hosts) {
        if (peerId === self || !world.reachable(self, peerId)) continue
        queueMicrotask(() => {
          const subscription = host.subscriptions.get(topic)
          if (subscription?.validate(message) === 'accept') subscription.deliver(message)
        })
      }
    },
  }
}

function createRouting(world: MemoryWorld, self: PeerRef): Routing {
  return {
    provide: async (cid, { signal }) => {
      signal.throwIfAborted()
      const known = world.providers.get(cid.toString()) ?? new Map<string, PeerRef>()
      world.providers.set(cid.toString(), known.set(self.id, self))
    },
    cancel: async (cid) => {
      world.providers.get(cid.toString())?.delete(self.id)
    },
    async *find(cid, { signal }) {
      for (const provider of [...(world.providers.get(cid.toString())?.values() ?? [])]) {
        signal.throwIfAborted()
        if (provider.id !== self.id) yield provider
      }
    },
  }
}
