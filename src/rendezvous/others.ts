import type { PeerRef } from '../net/host.ts'
import { Listeners } from './listeners.ts'

/** The other members of a swarm that one was told of. */
export class Others {
  readonly #self: string
  readonly #peers = new Map<string, PeerRef>()
  readonly #listeners = new Listeners<[PeerRef]>()

  constructor(self: string) {
    this.#self = self
  }

  /** Those known already are told of at once. @returns what takes the listener out again */
  onMember(listener: (peer: PeerRef) => void): () => void {
    for (const peer of this.#peers.values()) listener(peer)
    return this.#listeners.add(listener)
  }

  meet(peers: readonly PeerRef[]): void {
    for (const peer of peers) {
      if (peer.id === this.#self) continue
      const known = this.#peers.has(peer.id)
      this.#peers.set(peer.id, peer)
      if (!known) this.#listeners.tell(peer)
    }
  }
}
