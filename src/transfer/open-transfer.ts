import type { Digest } from '../../protocols/digest.ts'
import { PIECE_PROTOCOL } from '../../protocols/piece/limits.ts'
import { SWARM_PROTOCOL } from '../../protocols/swarm/limits.ts'
import { ShoalError } from '../errors.ts'
import type { Channel } from '../net/channel.ts'
import type { Host, PeerRef } from '../net/host.ts'
import { networkOf } from '../net/network-of.ts'
import type { RateLimit } from '../rate-limit.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { createClaimVerifier } from './claims.ts'
import { DEFAULT_LIMITS, limitsUnder, type TransferLimits } from './limits.ts'
import { Link, type LinkParts } from './link.ts'
import { PieceServer } from './serve.ts'
import { Shelf } from './shelf.ts'
import { Subscriptions } from './subscriptions.ts'
import { LinkedSwarm } from './swarm.ts'
import type { Library, PeerTraffic, Swarm, Transfer } from './transfer.ts'

/** Streams of one protocol that a peer may hold open to us: one in use, one being replaced, and some that the network has not buried yet. */
const STREAMS_PER_PEER = 4
/** Peers that are remembered (speed, bytes moved) when nothing is open to them any more. */
const REMEMBERED_PEERS = 1_024
const MAX_TICK_MS = 1_000

export interface TransferOptions {
  readonly host: Host
  readonly library: Library
  readonly metrics: Metrics
  readonly log: Log
  readonly limits?: Partial<TransferLimits>
  /** What all peers together may be sent of pieces; messages do not count, and never wait. */
  readonly uploadLimit?: RateLimit | undefined
  /** Whether a peer may be given anything; a peer that may not is told so. Default: every connected peer. */
  readonly admits?: (peerId: string) => boolean
  /** What a peer was to be given turned out not to be held any more, or not to be right on the disk. */
  readonly onDamage?: (digest: Digest) => void
}

/** Serves this node's blobs to its peers, and takes part in their swarms. */
export async function openTransfer(options: TransferOptions): Promise<Transfer> {
  const transfer = new LinkedTransfer(options)
  await transfer.listen()
  return transfer
}

class LinkedTransfer implements Transfer {
  readonly #host: Host
  readonly #limits: TransferLimits
  readonly #linkParts: LinkParts
  readonly #links = new Map<string, Link>()
  readonly #swarms = new Map<string, Set<LinkedSwarm>>()
  readonly #sentBytes = new Map<string, number>()
  readonly #shelf: Shelf
  readonly #server: PieceServer
  readonly #subscriptions: Subscriptions
  readonly #timer: NodeJS.Timeout
  #servedBytes = 0
  #closed = false

  constructor({ host, library, metrics, log, limits = {}, uploadLimit, admits = () => true, onDamage }: TransferOptions) {
    const now = () => performance.now()
    this.#host = host
    this.#limits = limitsUnder(uploadLimit?.bytesPerSecond, { ...DEFAULT_LIMITS, ...limits })
    this.#shelf = new Shelf(library, now)
    const parts = { limits: this.#limits, shelf: this.#shelf, metrics, log, now, admits }
    this.#linkParts = { host, limits: this.#limits, metrics, log, now, random: Math.random, verify: createClaimVerifier(host) }
    const onShrunk = (digest: Digest) => {
      this.refresh(digest)
      onDamage?.(digest)
    }
    this.#server = new PieceServer({
      ...parts,
      uploadLimit,
      onServed: (peerId, bytes) => this.#served(peerId, bytes),
      onShrunk,
    })
    this.#subscriptions = new Subscriptions({
      ...parts,
      onShrunk,
      load: () => this.#server.load,
      heldBy: (peerId, digest) => this.#links.get(peerId)?.heldOf(digest),
      onWant: (peerId, digest) => this.#wantedBy(peerId, digest),
    })
    this.#timer = setInterval(() => this.#tick(now()), tickMs(this.#limits)).unref()
  }

  async listen(): Promise<void> {
    const streams = { maxInboundStreams: STREAMS_PER_PEER }
    await this.#host.handle(SWARM_PROTOCOL, streams, (channel) => this.#serve(this.#subscriptions, channel))
    await this.#host.handle(PIECE_PROTOCOL, streams, (channel) => this.#serve(this.#server, channel))
  }

  get load(): number {
    return this.#server.load
  }

  get servedBytes(): number {
    return this.#servedBytes
  }

  join(digest: Digest): Swarm {
    if (this.#closed) throw new ShoalError('NODE_CLOSED', 'the node is closing')
    const key = digest.toString()
    const swarm = new LinkedSwarm(digest, {
      maxNeighbours: this.#limits.maxNeighbours,
      selfId: this.#host.peerId,
      linkTo: (peer) => this.#linkTo(peer),
      networkOf: (peer) => this.#networkOf(peer),
      now: this.#linkParts.now,
      random: this.#linkParts.random,
      have: (digest, indices) => this.#subscriptions.have(digest, indices),
      onClose: (swarm) => this.#left(key, swarm),
    })
    const swarms = this.#swarms.get(key)
    if (swarms === undefined) this.#swarms.set(key, new Set([swarm]))
    else swarms.add(swarm)
    return swarm
  }

  traffic(): readonly PeerTraffic[] {
    const peerIds = new Set([...this.#links.keys(), ...this.#sentBytes.keys()])
    return [...peerIds].map((peerId) => {
      const link = this.#links.get(peerId)
      return {
        peerId,
        receivedBytes: link?.receivedBytes ?? 0,
        sentBytes: this.#sentBytes.get(peerId) ?? 0,
        bytesPerSecond: link?.pace.bytesPerSecond,
      }
    })
  }

  refresh(digest: Digest): void {
    this.#subscriptions.refresh(digest)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#timer)
    const reason = new ShoalError('NODE_CLOSED', 'the node is closing')
    for (const swarms of [...this.#swarms.values()]) for (const swarm of [...swarms]) await swarm[Symbol.asyncDispose]()
    for (const link of this.#links.values()) link.abort(reason)
    this.#subscriptions.abort(reason)
    this.#server.abort(reason)
    await this.#shelf.close()
  }

  async #serve(server: { serve(channel: Channel): Promise<void> }, channel: Channel): Promise<void> {
    if (this.#closed) throw new ShoalError('NODE_CLOSED', 'the node is closing')
    await server.serve(channel)
  }

  #linkTo(peer: PeerRef): Link {
    let link = this.#links.get(peer.id)
    if (link === undefined) {
      link = new Link(peer, this.#linkParts)
      this.#links.set(peer.id, link)
    } else if (peer.addresses.length > 0) link.peer = peer
    return link
  }

  /** Where a peer is connected from; else where it says that it is. */
  #networkOf({ id, addresses }: PeerRef): string {
    const address = this.#host.peers().find((peer) => peer.id === id)?.address ?? addresses[0]
    return (address === undefined ? undefined : networkOf(address)) ?? ''
  }

  /** Who wants what we want may soon hold some of it. */
  #wantedBy(peerId: string, digest: Digest): void {
    for (const swarm of this.#swarms.get(digest.toString()) ?? []) swarm.add({ id: peerId, addresses: [] })
  }

  #left(key: string, swarm: LinkedSwarm): void {
    const swarms = this.#swarms.get(key)
    swarms?.delete(swarm)
    if (swarms?.size === 0) this.#swarms.delete(key)
  }

  #served(peerId: string, bytes: number): void {
    this.#servedBytes += bytes
    const sent = this.#sentBytes.get(peerId) ?? 0
    if (sent === 0 && this.#sentBytes.size >= REMEMBERED_PEERS)
      this.#sentBytes.delete(this.#sentBytes.keys().next().value as string)
    this.#sentBytes.set(peerId, sent + bytes)
  }

  #tick(now: number): void {
    this.#server.tick(now)
    this.#subscriptions.tick(now)
    for (const [peerId, link] of this.#links) {
      link.tick(now)
      if (link.unused && this.#links.size > REMEMBERED_PEERS) this.#links.delete(peerId)
    }
  }
}

/** Often enough to notice the shortest of the times that are watched. */
function tickMs(limits: TransferLimits): number {
  return Math.max(10, Math.min(MAX_TICK_MS, limits.idleMs / 2, limits.silenceMs / 2, limits.stallMs / 2))
}
