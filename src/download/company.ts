import type { PeerRef } from '../net/host.ts'
import type { Swarm } from '../transfer/transfer.ts'

/** Neighbours that a download has before it is known to be of more than one piece: news of one piece reaches everybody through as many. */
const FEW = 6

/**
 * Whom a download takes as neighbours: a few of those who want the blob too and all who hold it. Everybody else waits until it is
 * known that they are worth a message or two each, which a crowd that pulls forty small layers has no time for.
 */
export class Company {
  readonly #swarm: Pick<Swarm, 'add'>
  readonly #waiting = new Map<string, PeerRef>()
  #taken = 0
  #open = false

  constructor(swarm: Pick<Swarm, 'add'>) {
    this.#swarm = swarm
  }

  /** It is said to hold the blob. */
  holder(peer: PeerRef): void {
    this.#swarm.add(peer)
  }

  /** It wants the blob too. */
  companion(peer: PeerRef): void {
    if (this.#open || this.#taken++ < FEW) this.#swarm.add(peer)
    else this.#waiting.set(peer.id, peer)
  }

  /** Nothing is known of it. */
  stranger(peer: PeerRef): void {
    if (this.#open) this.#swarm.add(peer)
    else this.#waiting.set(peer.id, peer)
  }

  /** Everybody is welcome from now on. */
  open(): void {
    if (this.#open) return
    this.#open = true
    for (const peer of this.#waiting.values()) this.#swarm.add(peer)
    this.#waiting.clear()
  }
}
