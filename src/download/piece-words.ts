import { MAX_CLAIM_HASHES } from '../../protocols/claim/limits.ts'
import type { Neighbour, Swarm } from '../transfer/transfer.ts'
import type { Word } from './claim-book.ts'
import type { Incoming } from './incoming.ts'

/** Pieces asked about at a time of a peer that has imported some: about a lease. */
const MAX_RUN = 16

/** Gets hold of the hashes that pieces are verified against, a page of claims at a time, before or while the pieces travel. */
export class PieceWords {
  readonly #incoming: Incoming
  readonly #swarm: Swarm
  /** Questions under way, by peer and piece. */
  readonly #asking = new Map<string, Promise<void>>()

  constructor(incoming: Incoming, swarm: Swarm) {
    this.#incoming = incoming
    this.#swarm = swarm
  }

  /** The word to verify a piece against, asked of the peer that sends it if nobody has said yet, then of others. */
  async find(peerId: string, index: number, signal: AbortSignal): Promise<Word | undefined> {
    const { book, geometry } = this.#incoming
    if (geometry.pieces === 1) return undefined
    const known = book.word(index)
    if (known !== undefined && !book.isSuspect(known.author)) return known
    await this.#ask(peerId, index, signal).catch(() => {})
    for (const other of this.#others(peerId, index)) {
      const word = book.word(index)
      if (word !== undefined && !book.isSuspect(word.author)) return word
      signal.throwIfAborted()
      await this.#ask(other.peer.id, index, signal).catch(() => {})
    }
    return book.word(index)
  }

  /** What this very peer says of a piece. */
  async from(peerId: string, index: number, signal: AbortSignal): Promise<Word | undefined> {
    const own = () => this.#incoming.book.words(index).find((word) => word.author === peerId)
    const known = own()
    if (known !== undefined) return known
    await this.#ask(peerId, index, signal)
    return own()
  }

  /** Asks each neighbour for all it can say. */
  async gather(neighbours: readonly Neighbour[], signal: AbortSignal): Promise<void> {
    const { pieces } = this.#incoming.geometry
    await Promise.all(
      neighbours.map(async (n) => {
        for (let first = 0; first < pieces; first += MAX_CLAIM_HASHES)
          await this.#askPage(n.peer.id, first, signal).catch(() => {})
      }),
    )
  }

  #others(peerId: string, index: number): Neighbour[] {
    return this.#swarm
      .neighbours()
      .filter((n) => n.peer.id !== peerId && n.have?.has(index) === true)
      .sort((a, b) => Number(b.state === 'complete') - Number(a.state === 'complete'))
      .slice(0, 3)
  }

  /** What a peer can say of a piece and of those after it that it holds and nobody has spoken of; of a whole page if it holds all. */
  async #ask(peerId: string, index: number, signal: AbortSignal): Promise<void> {
    const running = this.#asking.get(key(peerId, index))
    if (running !== undefined) return running
    const { book, geometry } = this.#incoming
    const peer = this.#swarm.neighbours().find((n) => n.peer.id === peerId)
    if (peer?.state === 'complete') return this.#askPage(peerId, index, signal)
    const end = Math.min(index + MAX_RUN, geometry.pieces)
    let next = index + 1
    while (next < end && peer?.have?.has(next) === true && book.word(next) === undefined) next++
    return this.#claims(peerId, index, next - index, signal)
  }

  async #askPage(peerId: string, index: number, signal: AbortSignal): Promise<void> {
    const first = index - (index % MAX_CLAIM_HASHES)
    return this.#claims(peerId, first, Math.min(MAX_CLAIM_HASHES, this.#incoming.geometry.pieces - first), signal)
  }

  /** One question at a time about a piece to a peer. */
  async #claims(peerId: string, first: number, count: number, signal: AbortSignal): Promise<void> {
    const running = this.#asking.get(key(peerId, first))
    if (running !== undefined && count === 1) return running
    const keys = Array.from({ length: count }, (_, i) => key(peerId, first + i))
    const asking = this.#swarm
      .claims(peerId, first, count, { signal })
      .then((claims) => {
        for (const claim of claims) if (claim.size === this.#incoming.geometry.size) this.#incoming.book.add(claim)
      })
      .finally(() => {
        for (const one of keys) if (this.#asking.get(one) === asking) this.#asking.delete(one)
      })
    for (const one of keys) this.#asking.set(one, asking)
    return asking
  }
}

function key(peerId: string, index: number): string {
  return `${peerId} ${index}`
}
