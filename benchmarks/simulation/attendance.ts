import type { PeerRef } from '../../src/net/host.ts'
import { BlobMember } from '../../src/rendezvous/blob-member.ts'
import { type Line, OwnLine } from '../../src/rendezvous/line.ts'
import { Office } from '../../src/rendezvous/office.ts'
import { OrderCache } from '../../src/rendezvous/order-cache.ts'
import { DIGEST, SimulatedLine } from './line.ts'
import type { Peer } from './peer.ts'
import type { World } from './world.ts'

/** One host's part in the rendezvous, for itself and for others: all of src/rendezvous but the streams. */
export class Attendance {
  readonly office: Office
  readonly #self: Peer
  readonly #world: World
  readonly #order: OrderCache
  readonly #own: Line
  readonly #lines = new Map<string, SimulatedLine>()
  member: BlobMember | undefined
  /** The rendezvous has said who else is there, or is not worth waiting for any longer. */
  introduced = false
  /** No other member has been told of: nobody waits for what this host imports. */
  alone = true

  constructor(self: Peer, world: World) {
    this.#self = self
    this.#world = world
    const { clock, random } = world
    this.#order = new OrderCache({ self: self.id, members: () => self.view, clock })
    this.office = new Office({ clock, random, redirect: (_digest, desk) => this.#better(desk) })
    this.#own = new OwnLine(self.id, this.office, clock)
  }

  join(): void {
    const { clock, random } = this.#world
    const { ref, id, view, neighbours, importing } = this.#self
    this.#world.stirred = true
    const member = new BlobMember(DIGEST, undefined, {
      clock,
      random,
      self: ref,
      members: () => view,
      isReachable: (peerId) => peerId === id || this.#lines.get(peerId)?.failing !== true,
      isConnected: (peerId) => peerId === id || this.#self.connected.has(this.#world.peer(peerId).index),
      lineTo: (peerId) => this.#lineTo(peerId),
      onClose: () => {},
    })
    this.member = member
    member.onMember((peer) => {
      this.alone = false
      neighbours.meet(this.#world.peer(peer.id))
    })
    member.onChange(() => importing.called())
    void member.introduced.then(() => {
      this.introduced = true
    })
  }

  complete(): void {
    this.#world.stirred = true
    this.member?.complete()
  }

  /** This host is gone: the offices that it attended notice. */
  vanish(): void {
    for (const line of this.#lines.values()) line.leave()
  }

  /** Another host is gone. */
  lost(peerId: string): void {
    const line = this.#lines.get(peerId)
    if (line !== undefined) this.#world.clock.after(this.#world.scenario.latencyMs, () => line.down())
  }

  #better(desk: number): PeerRef | undefined {
    const two = this.#order.firstTwo(DIGEST, desk)
    const [first] = two
    if (first === undefined || two.includes(this.#self.id)) return undefined
    return this.#world.peer(first).ref
  }

  #lineTo(peerId: string): Line {
    if (peerId === this.#self.id) return this.#own
    let line = this.#lines.get(peerId)
    if (line === undefined) {
      line = new SimulatedLine(this.#world, this.#self, this.#world.peer(peerId))
      this.#lines.set(peerId, line)
    }
    return line
  }
}
