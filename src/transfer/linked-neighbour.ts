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
  readonly #networkOf: (peer: PeerRef) => string
  #network: string | undefined
  #networkShows = false

  constructor(link: Link, interest: Interest, since: number, networkOf: (peer: PeerRef) => string) {
    this.link = link
    this.interest = interest
    this.since = since
    this.#networkOf = networkOf
  }

  /** As it shows once it is connected; before, as it says. Looked up twice at most: every newcomer to a full swarm asks. */
  get network(): string {
    const shows = this.state !== 'connecting' && this.state !== 'failed'
    if (this.#network === undefined || (shows && !this.#networkShows)) {
      this.#network = this.#networkOf(this.peer)
      this.#networkShows = shows
    }
    return this.#network
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
