import type { Claim } from '../../protocols/claim/codec.ts'
import type { Digest } from '../../protocols/digest.ts'
import { ShoalError } from '../errors.ts'
import type { PeerRef } from '../net/host.ts'
import { Bench } from './bench.ts'
import { Dismissed } from './dismissed.ts'
import { displacedBy } from './displaced.ts'
import type { Link } from './link.ts'
import { LinkedNeighbour } from './linked-neighbour.ts'
import type { Neighbour, PieceArrival, RequestOptions, Swarm } from './transfer.ts'

export interface SwarmParts {
  readonly maxNeighbours: number
  readonly selfId: string
  /** The link to a peer, made if need be. */
  readonly linkTo: (peer: PeerRef) => Link
  /** The network that a peer is in, as far as it shows. */
  readonly networkOf: (peer: PeerRef) => string
  readonly now: () => number
  readonly random: () => number
  readonly have: (digest: Digest, indices: readonly number[]) => void
  readonly onClose: (swarm: LinkedSwarm) => void
}

/** One blob's swarm over the links that all swarms share. */
export class LinkedSwarm implements Swarm {
  readonly #digest: Digest
  readonly #parts: SwarmParts
  readonly #members = new Map<string, LinkedNeighbour>()
  readonly #bench: Bench
  readonly #dismissed = new Dismissed()
  readonly #listeners = new Set<() => void>()
  #view: readonly Neighbour[] | undefined
  #changing = false
  #closed = false

  constructor(digest: Digest, parts: SwarmParts) {
    this.#digest = digest
    this.#parts = parts
    this.#bench = new Bench(parts.random)
  }

  get digest(): Digest {
    return this.#digest
  }

  add(peer: PeerRef): void {
    if (this.#closed || peer.id === this.#parts.selfId) return
    const known = this.#members.get(peer.id)
    if (known !== undefined) {
      this.#parts.linkTo(peer).retry(known.interest)
    } else if (this.#members.size < this.#parts.maxNeighbours || this.#makeRoom(peer)) {
      this.#bench.delete(peer.id)
      this.#takeIn(peer)
    } else if (!this.#dismissed.has(peer.id, this.#parts.now())) this.#bench.add(peer, this.#parts.networkOf(peer))
  }

  remove(peerId: string): void {
    this.#bench.delete(peerId)
    const member = this.#members.get(peerId)
    if (member === undefined) return
    this.#letGo(member)
    this.#fill()
    this.#changed()
  }

  get waiting(): number {
    return this.#bench.size
  }

  exchange(peerIds: readonly string[]): void {
    for (const peerId of peerIds) {
      const member = this.#members.get(peerId)
      if (member === undefined || this.#bench.size === 0) continue
      this.#letGo(member)
      this.#dismissed.add(peerId, this.#parts.now())
      this.#fill()
    }
  }

  neighbours(): readonly Neighbour[] {
    this.#view ??= [...this.#members.values()]
    return this.#view
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async request(peerId: string, index: number, into: Uint8Array, options: RequestOptions): Promise<PieceArrival> {
    const member = this.#members.get(peerId)
    if (member === undefined) {
      options.onOver?.(0)
      throw this.#stranger(peerId)
    }
    return await member.link.request(member.interest, index, into, options)
  }

  async claims(peerId: string, first: number, count: number, options: { signal: AbortSignal }): Promise<readonly Claim[]> {
    const member = this.#members.get(peerId)
    if (member === undefined) throw this.#stranger(peerId)
    const { link, interest } = member
    return await link.claims(interest, first, count, options.signal)
  }

  have(indices: readonly number[]): void {
    this.#parts.have(this.#digest, indices)
  }

  report(peerId: string, index: number): void {
    this.#members.get(peerId)?.link.report(this.#digest, index)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#listeners.clear()
    for (const member of this.#members.values()) this.#leave(member)
    this.#members.clear()
    this.#view = undefined
    this.#parts.onClose(this)
  }

  #stranger(peerId: string): ShoalError {
    return new ShoalError('PEER_GONE', `${peerId} is no neighbour in the swarm of ${this.#digest}`)
  }

  #takeIn(peer: PeerRef): void {
    const link = this.#parts.linkTo(peer)
    const interest = link.want(this.#digest)
    interest.listeners.add(this.#changed)
    this.#members.set(peer.id, new LinkedNeighbour(link, interest, this.#parts.now(), this.#parts.networkOf))
    this.#view = undefined
    this.#changed()
  }

  /** Gives places that are free to those who wait, to networks that have few first. */
  #fill(): void {
    while (this.#members.size < this.#parts.maxNeighbours) {
      const places = this.#places()
      const next = this.#bench.draw((network) => places.get(network)?.length ?? 0)
      if (next === undefined) return
      this.#takeIn(next)
    }
  }

  /** A neighbour that is of no use gives way to one that may be, and one of a network that has many to one of a network that has few. */
  #makeRoom(peer: PeerRef): boolean {
    const failed = [...this.#members.values()].find(({ state }) => state === 'failed')
    const useless = failed ?? (this.#dismissed.has(peer.id, this.#parts.now()) ? undefined : this.#displacedBy(peer))
    if (useless === undefined) return false
    this.#letGo(useless)
    if (useless !== failed) this.#bench.add(useless.peer, useless.network)
    return true
  }

  #displacedBy(peer: PeerRef): LinkedNeighbour | undefined {
    const { maxNeighbours, networkOf, now } = this.#parts
    return displacedBy(networkOf(peer), [...this.#members.values()], { maxNeighbours, now: now() })
  }

  /** The neighbours by network, in the order in which they were taken in. */
  #places(): Map<string, LinkedNeighbour[]> {
    return Map.groupBy(this.#members.values(), ({ network }) => network)
  }

  #letGo(member: LinkedNeighbour): void {
    this.#leave(member)
    this.#members.delete(member.peer.id)
    this.#view = undefined
  }

  #leave(member: LinkedNeighbour): void {
    member.interest.listeners.delete(this.#changed)
    member.link.release(member.interest)
  }

  #changed = (): void => {
    if (this.#changing || this.#listeners.size === 0) return
    this.#changing = true
    queueMicrotask(() => {
      this.#changing = false
      for (const listener of this.#listeners) listener()
    })
  }
}
