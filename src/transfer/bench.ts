import type { PeerRef } from '../net/host.ts'

/** More are not remembered: they are known to others. */
const MAX_WAITING = 256

/** Members of a swarm who have no place among the neighbours: others to draw from. However many come from one network, they push out only each other. */
export class Bench {
  readonly #random: () => number
  readonly #max: number
  /** By network, then peer id. */
  readonly #waiting = new Map<string, Map<string, PeerRef>>()
  #size = 0

  constructor(random: () => number, max = MAX_WAITING) {
    this.#random = random
    this.#max = max
  }

  get size(): number {
    return this.#size
  }

  add(peer: PeerRef, network: string): void {
    this.delete(peer.id)
    const there = this.#waiting.get(network) ?? new Map<string, PeerRef>()
    this.#waiting.set(network, there.set(peer.id, peer))
    if (++this.#size > this.#max) this.delete(this.#any(this.#largest()).id)
  }

  delete(peerId: string): void {
    for (const [network, there] of this.#waiting) {
      if (!there.delete(peerId)) continue
      this.#size--
      if (there.size === 0) this.#waiting.delete(network)
      return
    }
  }

  /** Takes any one of a network that has the fewest places already. */
  draw(placesOf: (network: string) => number): PeerRef | undefined {
    let fewest = Infinity
    let networks: string[] = []
    for (const network of this.#waiting.keys()) {
      const places = placesOf(network)
      if (places < fewest) {
        fewest = places
        networks = []
      }
      if (places === fewest) networks.push(network)
    }
    if (networks.length === 0) return undefined
    const peer = this.#any(networks[Math.floor(this.#random() * networks.length)] as string)
    this.delete(peer.id)
    return peer
  }

  #largest(): string {
    let largest: [string, Map<string, PeerRef>] | undefined
    for (const entry of this.#waiting) if (largest === undefined || entry[1].size > largest[1].size) largest = entry
    return (largest as [string, unknown])[0]
  }

  #any(network: string): PeerRef {
    const there = [...(this.#waiting.get(network) as Map<string, PeerRef>).values()]
    return there[Math.floor(this.#random() * there.length)] as PeerRef
  }
}
