import type { Bitfield } from '../../protocols/bitfield.ts'
import { geometryOf, MIN_PIECE_BYTES } from '../../protocols/pieces.ts'
import type { PeerRef } from '../net/host.ts'
import type { Interest } from './interest.ts'
import type { Link } from './link.ts'
import type { Neighbour, NeighbourState } from './transfer.ts'

/** What the swarm shows of a peer: always as it is now. */
export class LinkedNeighbour implements Neighbour {
  readonly link: Link
  readonly interest: Interest
  /** When it was taken in, monotonic milliseconds. */
  readonly since: number

  constructor(link: Link, interest: Interest, since: number) {
    this.link = link
    this.interest = interest
    this.since = since
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
