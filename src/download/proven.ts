/** Peers remembered: more than a node has neighbours in a day. */
const MAX_PROVEN = 4_096

/** Peers of whom a digest has shown that what they signed as importers was so. Whoever is new is looked at more closely. */
export class Proven {
  readonly #peers = new Set<string>()

  has(peerId: string): boolean {
    return this.#peers.has(peerId)
  }

  add(peerId: string): void {
    this.#peers.delete(peerId)
    this.#peers.add(peerId)
    if (this.#peers.size > MAX_PROVEN) this.#peers.delete(this.#peers.values().next().value as string)
  }

  delete(peerId: string): void {
    this.#peers.delete(peerId)
  }
}
