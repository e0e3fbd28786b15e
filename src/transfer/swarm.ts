import type { Bitfield } from '../../protocols/bitfield.ts'
import type { Claim } from '../../protocols/claim/codec.ts'
import type { Digest } from '../../protocols/digest.ts'
import { geometryOf, MIN_PIECE_BYTES } from '../../protocols/pieces.ts'
import { ShoalError } from '../errors.ts'
import type { PeerRef } from '../net/host.ts'
import type { Interest } from './interest.ts'
import type { Link } from './link.ts'
import type { Neighbour, NeighbourState, PieceArrival, RequestOptions, Swarm } from './transfer.ts'

export interface SwarmParts {
  readonly maxNeighbours: number
  readonly selfId: string
  /** The link to a peer, made if need be. */
  readonly linkTo: (peer: PeerRef) => Link
  readonly have: (digest: Digest, indices: readonly number[]) => void
  readonly onClose: (swarm: LinkedSwarm) => void
}

/** One blob's swarm over the links that all swarms share. */
export class LinkedSwarm implements Swarm {
  readonly #digest: Digest
  readonly #parts: SwarmParts
  readonly #members = new Map<string, LinkedNeighbour>()
  readonly #listeners = new Set<() => void>()
  #view: readonly Neighbour[] | undefined
  #changing = false
  #closed = false

  constructor(digest: Digest, parts: SwarmParts) {
    this.#digest = digest
    this.#parts = parts
  }

  get digest(): Digest {
    return this.#digest
  }

  add(peer: PeerRef): void {
    if (this.#closed || peer.id === this.#parts.selfId) return
    const known = this.#members.get(peer.id)
    if (known === undefined && this.#members.size >= this.#parts.maxNeighbours && !this.#makeRoom()) return
    const link = this.#parts.linkTo(peer)
    if (known !== undefined) {
      link.retry(known.interest)
      return
    }
    const interest = link.want(this.#digest)
    interest.listeners.add(this.#changed)
    this.#members.set(peer.id, new LinkedNeighbour(link, interest))
    this.#view = undefined
    this.#changed()
  }

  remove(peerId: string): void {
    const member = this.#members.get(peerId)
    if (member === undefined) return
    this.#leave(member)
    this.#members.delete(peerId)
    this.#view = undefined
    this.#changed()
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

  /** A neighbour that is of no use gives way to one that may be. */
  #makeRoom(): boolean {
    const useless =
      [...this.#members.values()].find((m) => m.state === 'failed') ?? [...this.#members.values()].find((m) => m.state === 'none')
    if (useless === undefined) return false
    this.#leave(useless)
    this.#members.delete(useless.peer.id)
    this.#view = undefined
    return true
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

/** What the swarm shows of a peer: always as it is now. */
class LinkedNeighbour implements Neighbour {
  readonly link: Link
  readonly interest: Interest

  constructor(link: Link, interest: Interest) {
    this.link = link
    this.interest = interest
  }

  get peer(): PeerRef {
    return this.link.peer
  }

  get state(): NeighbourState {
    return this.interest.state
  }

  get size(): number | undefined {
    return this.interest.size
  }

  get have(): Bitfield | undefined {
    return this.interest.have
  }

  get load(): number {
    return this.link.load
  }

  get outstandingPieces(): number {
    return this.link.outstandingPieces
  }

  get outstandingBytes(): number {
    return this.link.outstandingBytes
  }

  get allowanceBytes(): number {
    const { size } = this.interest
    return this.link.pace.allowanceBytes(size === undefined ? MIN_PIECE_BYTES : geometryOf(size).pieceBytes)
  }

  get bytesPerSecond(): number | undefined {
    return this.link.pace.bytesPerSecond
  }

  get delayMs(): number | undefined {
    return this.link.pace.delayMs
  }

  get patienceMs(): number {
    return this.link.pace.patienceMs
  }

  get busyUntil(): number {
    return this.link.pace.busyUntil
  }
}
