import type { Digest } from '../../protocols/digest.ts'
import type { Clock } from '../clock.ts'
import type { PeerRef } from '../net/host.ts'
import { firstTwo } from './order.ts'

/** A zone's view changes slowly; weighing all of a large one costs a millisecond. */
const FRESH_MS = 250
const MAX_DIGESTS = 512

/** The zone as it was a moment ago, and who comes first in it for which blob. */
export class OrderCache {
  readonly #self: string
  readonly #view: () => readonly PeerRef[]
  readonly #clock: Clock
  #all: readonly PeerRef[] = []
  #members = new Map<string, PeerRef>()
  #readAt = Number.NEGATIVE_INFINITY
  readonly #orders = new Map<string, readonly string[]>()

  constructor(options: { self: string; members: () => readonly PeerRef[]; clock: Clock }) {
    this.#self = options.self
    this.#view = options.members
    this.#clock = options.clock
  }

  members(): readonly PeerRef[] {
    this.#refresh()
    return this.#all
  }

  member(peerId: string): PeerRef | undefined {
    this.#refresh()
    return this.#members.get(peerId)
  }

  firstTwo(digest: Digest, desk: number): readonly string[] {
    this.#refresh()
    const key = `${digest} ${desk}`
    let two = this.#orders.get(key)
    if (two === undefined) {
      two = firstTwo(digest, [this.#self, ...this.#members.keys()], desk)
      if (this.#orders.size >= MAX_DIGESTS) this.#orders.clear()
      this.#orders.set(key, two)
    }
    return two
  }

  #refresh(): void {
    const now = this.#clock.now()
    if (now - this.#readAt < FRESH_MS) return
    this.#readAt = now
    this.#all = this.#view()
    this.#members = new Map(this.#all.map((peer) => [peer.id, peer]))
    this.#orders.clear()
  }
}
