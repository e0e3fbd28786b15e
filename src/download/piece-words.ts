import type { Claim } from '../../protocols/claim/codec.ts'
import { MAX_CLAIM_HASHES } from '../../protocols/claim/limits.ts'
import { MAX_CLAIMS_PIECES } from '../../protocols/swarm/limits.ts'
import type { Neighbour, RequestOptions, Swarm } from '../transfer/transfer.ts'
import type { Word } from './claim-book.ts'
import type { Incoming } from './incoming.ts'

/** Pieces asked about at a time of a peer that has imported some: about a lease. */
const MAX_RUN = 16
/** Who holds pieces that are in doubt is asked about them so often at most, and so seldom when it has come to hold nothing more. */
const SEEK_EVERY_MS = 100
const SEEK_AGAIN_MS = 1_000
const UNTIL_ANSWERED = new AbortController().signal

/** Gets hold of the hashes that pieces are verified against, a page of claims at a time, before or while the pieces travel. */
export class PieceWords {
  readonly #incoming: Incoming
  readonly #swarm: Swarm
  /** Questions under way, by peer and piece. */
  readonly #asking = new Map<string, Promise<void>>()
  #seekAt = 0
  readonly #sought = new Map<string, { readonly held: number; readonly at: number }>()

  constructor(incoming: Incoming, swarm: Swarm) {
    this.#incoming = incoming
    this.#swarm = swarm
  }

  /**
   * The word to verify a piece against that is about to be asked of a peer: a partial holder's claim comes with the piece, if `onClaim` is
   * given to the request; who holds the whole is asked for a page of claims at once.
   */
  expect(
    peerId: string,
    index: number,
    signal: AbortSignal,
  ): { word: Promise<Word | undefined> } & Pick<RequestOptions, 'onClaim'> {
    if (this.#trusted(index) !== undefined || !this.#isPartial(peerId)) return { word: this.find(peerId, index, signal) }
    const { promise, resolve } = Promise.withResolvers<Claim | undefined>()
    const word = promise.then((claim) => {
      if (claim !== undefined) this.#add(claim)
      return this.find(peerId, index, signal)
    })
    return { word, onClaim: resolve }
  }

  /** The word to verify a piece against, asked of the peer that sends it if nobody has said yet, then of others. */
  async find(peerId: string, index: number, signal: AbortSignal): Promise<Word | undefined> {
    const { book, geometry } = this.#incoming
    if (geometry.pieces === 1) return undefined
    const known = this.#trusted(index)
    if (known !== undefined) return known
    await this.#ask(peerId, index, signal).catch(() => {})
    for (const other of this.#others(peerId, index)) {
      const word = this.#trusted(index)
      if (word !== undefined) return word
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

  /** About pieces that fell into doubt: asks who holds some of them, when it has come to hold more, until somebody speaks who is believed. */
  seek(neighbours: readonly Neighbour[], now: number): void {
    const { doubts } = this.#incoming
    if (doubts.size === 0 || now < this.#seekAt) return
    this.#seekAt = now + SEEK_EVERY_MS
    const wanted = doubts.wanted().sort((a, b) => a - b)
    for (const { peer, have } of neighbours) {
      const held = wanted.filter((index) => have?.has(index))
      const [first] = held
      const sought = this.#sought.get(peer.id)
      if (have === undefined || first === undefined) continue
      if (sought?.held === have.count && now < sought.at + SEEK_AGAIN_MS) continue
      this.#sought.set(peer.id, { held: have.count, at: now })
      const last = held.findLast((index) => index < first + MAX_CLAIMS_PIECES) as number
      this.#claims(peer.id, first, last - first + 1, UNTIL_ANSWERED).catch(() => {})
    }
  }

  #trusted(index: number): Word | undefined {
    const { book } = this.#incoming
    const word = book.word(index)
    return word === undefined || book.isSuspect(word.author) ? undefined : word
  }

  #isPartial(peerId: string): boolean {
    return this.#incoming.geometry.pieces > 1 && this.#neighbour(peerId)?.state === 'partial'
  }

  #neighbour(peerId: string): Neighbour | undefined {
    return this.#swarm.neighbours().find((n) => n.peer.id === peerId)
  }

  #add(claim: Claim): void {
    if (claim.size === this.#incoming.geometry.size) this.#incoming.book.add(claim)
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
    const peer = this.#neighbour(peerId)
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
        for (const claim of claims) this.#add(claim)
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
