import type { Digest } from '../../protocols/digest.ts'
import type { SwarmPeer } from '../../protocols/rendezvous/codec.ts'
import { MAX_ADDRESS_BYTES, MAX_PEER_ADDRESSES, RENDEZVOUS_PROTOCOL } from '../../protocols/rendezvous/limits.ts'
import { type Clock, SYSTEM_CLOCK } from '../clock.ts'
import { ShoalError } from '../errors.ts'
import type { Host, PeerRef } from '../net/host.ts'
import type { Log } from '../telemetry/log.ts'
import { BlobMember } from './blob-member.ts'
import type { TableBounds } from './lease-table.ts'
import { type Line, OwnLine, PeerLine } from './line.ts'
import { Office } from './office.ts'
import { OrderCache } from './order-cache.ts'
import { unlessMany } from './policy.ts'
import type { Membership, Rendezvous } from './rendezvous.ts'
import { serveVisit } from './visit.ts'

/** One for each of a peer's lives: a new one may come before the old is known to be dead. */
const STREAMS_PER_PEER = 2
/** Peers of whom we heard only by a redirect or as a member. */
const MAX_STRANGERS = 256

export interface RendezvousOptions {
  readonly host: Host
  /** This node's zone, without itself. */
  readonly members: () => readonly PeerRef[]
  /** Members that were found to import what is not so: they get no lease, what they have imported is to be imported, and they are not asked who imports. */
  readonly caught?: (digest: Digest) => ReadonlySet<string> | undefined
  readonly log: Log
  readonly clock?: Clock
  readonly random?: () => number
  readonly bounds?: TableBounds
}

/** Takes this node's part in the rendezvous of its zone: as a member for what it wants, and for others where it is the one. */
export async function openRendezvous(options: RendezvousOptions): Promise<Rendezvous> {
  const zone = new ZoneRendezvous(options)
  await options.host.handle(RENDEZVOUS_PROTOCOL, { maxInboundStreams: STREAMS_PER_PEER }, (channel) => zone.serve(channel))
  return zone
}

class ZoneRendezvous implements Rendezvous {
  readonly #options: RendezvousOptions
  readonly #clock: Clock
  readonly #random: () => number
  readonly #office: Office
  readonly #order: OrderCache
  readonly #own: Line
  readonly #lines = new Map<string, PeerLine>()
  readonly #strangers = new Map<string, PeerRef>()
  readonly #joined = new Set<BlobMember>()
  readonly #closing = new AbortController()

  constructor(options: RendezvousOptions) {
    const { host, members, caught, clock = SYSTEM_CLOCK, random = Math.random, bounds } = options
    this.#options = options
    this.#clock = clock
    this.#random = random
    this.#order = new OrderCache({ self: host.peerId, members, clock })
    this.#office = new Office({ clock, random, bounds, caught, redirect: (digest, desk) => this.#better(digest, desk) })
    this.#own = new OwnLine(host.peerId, this.#office, clock)
  }

  join(digest: Digest, size?: number): Membership {
    this.#closing.signal.throwIfAborted()
    const { host } = this.#options
    const addresses = host.addresses().filter((address) => address.length <= MAX_ADDRESS_BYTES)
    const member = new BlobMember(digest, size, {
      clock: this.#clock,
      random: this.#random,
      self: { id: host.peerId, addresses: addresses.slice(0, MAX_PEER_ADDRESSES) },
      members: () => this.#order.members(),
      isReachable: (peerId) => this.#isReachable(peerId),
      isConnected: (peerId) => peerId === host.peerId || host.isConnected(peerId),
      lineTo: (peerId, told) => this.#lineTo(peerId, told),
      caught: () => unlessMany(this.#options.caught?.(digest), this.#order.members().length + 1),
      onClose: (closed) => this.#joined.delete(closed),
    })
    this.#joined.add(member)
    return member
  }

  async serve(channel: Parameters<typeof serveVisit>[0]): Promise<void> {
    this.#closing.signal.throwIfAborted()
    const onClose = () => channel.abort(closed())
    this.#closing.signal.addEventListener('abort', onClose, { once: true })
    try {
      await serveVisit(channel, this.#office, this.#clock)
    } catch (error) {
      this.#options.log.debug({ peerId: channel.peerId, err: error }, 'a peer left the rendezvous')
      throw error
    } finally {
      this.#closing.signal.removeEventListener('abort', onClose)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closing.signal.aborted) return
    await Promise.all([...this.#joined].map((member) => member[Symbol.asyncDispose]()))
    this.#closing.abort(closed())
    for (const line of [...this.#lines.values()]) line.close()
    this.#office.close()
  }

  /** Whom somebody who has come to us should go to, as we see it. */
  #better(digest: Digest, desk: number): SwarmPeer | undefined {
    const two = this.#order.firstTwo(digest, desk)
    const [first] = two
    if (first === undefined || two.includes(this.#options.host.peerId)) return undefined
    const peer = this.#known(first)
    const addresses = peer?.addresses.filter((address) => address.length <= MAX_ADDRESS_BYTES) ?? []
    return { id: first, addresses: addresses.slice(0, MAX_PEER_ADDRESSES) }
  }

  #isReachable(peerId: string): boolean {
    if (peerId === this.#options.host.peerId) return true
    const line = this.#lines.get(peerId)
    return line === undefined ? this.#known(peerId) !== undefined : !line.failing
  }

  #lineTo(peerId: string, addresses?: readonly string[]): Line | undefined {
    if (peerId === this.#options.host.peerId) return this.#own
    if (addresses !== undefined && addresses.length > 0) this.#remember({ id: peerId, addresses })
    const line = this.#lines.get(peerId)
    if (line !== undefined) return line
    if (this.#known(peerId) === undefined || this.#closing.signal.aborted) return undefined
    const made: PeerLine = new PeerLine(peerId, {
      clock: this.#clock,
      open: (signal) =>
        this.#options.host.open(this.#known(peerId) ?? { id: peerId, addresses: [] }, RENDEZVOUS_PROTOCOL, { signal }),
      onIdle: () => {
        if (this.#lines.get(peerId) === made && !made.failing) this.#lines.delete(peerId)
      },
    })
    this.#lines.set(peerId, made)
    return made
  }

  #known(peerId: string): PeerRef | undefined {
    return this.#order.member(peerId) ?? this.#strangers.get(peerId)
  }

  #remember(peer: PeerRef): void {
    this.#strangers.delete(peer.id)
    this.#strangers.set(peer.id, peer)
    if (this.#strangers.size > MAX_STRANGERS) this.#strangers.delete(this.#strangers.keys().next().value as string)
  }
}

function closed(): ShoalError {
  return new ShoalError('NODE_CLOSED', 'the node is closing')
}
