import type { Connection, Libp2pEvents, TypedEventTarget } from '@libp2p/interface'
import type { ConnectedPeer, Host, PeerRef } from './host.ts'
import { createPeerEvents } from './peer-events.ts'

/** Who is connected, kept from libp2p's events; a peer may have several connections for a while. */
export class Connections {
  readonly #byPeer = new Map<string, Connection[]>()
  /** Where each connected peer listens, once it has said so. */
  readonly #listening = new Map<string, readonly string[]>()
  readonly #events = createPeerEvents()

  constructor(events: TypedEventTarget<Libp2pEvents>) {
    events.addEventListener('connection:open', ({ detail }) => this.#opened(detail))
    events.addEventListener('connection:close', ({ detail }) => this.#closed(detail))
    events.addEventListener('peer:identify', ({ detail }) => {
      const id = detail.peerId.toString()
      if (this.#byPeer.has(id)) this.#listening.set(id, detail.listenAddrs.map(String))
    })
  }

  get on(): Host['onPeer'] {
    return this.#events.on
  }

  /** The oldest connection that works. */
  get(peerId: string): Connection | undefined {
    return this.#byPeer.get(peerId)?.find(({ status }) => status === 'open')
  }

  all(peerId: string): readonly Connection[] {
    return this.#byPeer.get(peerId) ?? []
  }

  peers(): readonly ConnectedPeer[] {
    return [...this.#byPeer].map(([id, connections]) => describe(id, connections[0] as Connection))
  }

  #opened(connection: Connection): void {
    const id = connection.remotePeer.toString()
    const others = this.#byPeer.get(id)
    this.#byPeer.set(id, [...(others ?? []), connection])
    if (others === undefined) this.#events.emit({ type: 'connect', peer: this.#refer(id) })
  }

  #closed(connection: Connection): void {
    const id = connection.remotePeer.toString()
    const others = this.#byPeer.get(id)?.filter((other) => other !== connection)
    if (others === undefined) return
    if (others.length > 0) {
      this.#byPeer.set(id, others)
      return
    }
    const peer = this.#refer(id)
    this.#byPeer.delete(id)
    this.#listening.delete(id)
    this.#events.emit({ type: 'disconnect', peer })
  }

  /** An inbound connection comes from a port where nobody listens: where such a peer is, identify tells later. */
  #refer(id: string): PeerRef {
    const dialled = this.all(id).filter(({ direction }) => direction === 'outbound')
    return { id, addresses: this.#listening.get(id) ?? dialled.map(({ remoteAddr }) => remoteAddr.toString()) }
  }
}

function describe(id: string, connection: Connection): ConnectedPeer {
  const { remoteAddr, direction, timeline, rtt } = connection
  return { id, address: remoteAddr.toString(), direction, connectedAt: timeline.open, rttMs: rtt }
}
