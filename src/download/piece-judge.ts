import { hash } from 'node:crypto'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Swarm } from '../transfer/transfer.ts'
import { same, type Word } from './claim-book.ts'
import type { Incoming } from './incoming.ts'
import type { PieceWords } from './piece-words.ts'
import type { Usable } from './usable.ts'

/** Wrong pieces after which a peer is banned: a disk gone bad is told by the first report and stops offering. */
const MAX_WRONG_PIECES = 4
/** Mismatches remembered of one peer. */
const MAX_REMEMBERED = 32

export interface PieceJudgeOptions {
  readonly log: Log
  readonly metrics: Metrics
  /** Told of a peer that is found to send wrong pieces on purpose. */
  readonly onLiar: (peerId: string, reason: string) => void
}

/** Finds out who is at fault when what a peer sent is not what somebody signed. */
export class PieceJudge {
  readonly #incoming: Incoming
  readonly #swarm: Swarm
  readonly #words: PieceWords
  readonly #usable: Usable
  readonly #options: PieceJudgeOptions
  readonly #wrong = new Map<string, number>()
  /** Pieces that are not asked of peers because of this author's word. */
  readonly #excludedBy = new Map<string, [peerId: string, index: number][]>()
  /** What peers sent that did not match another's word, by piece: judged when the truth is known. */
  readonly #sent = new Map<string, Map<number, Uint8Array>>()

  constructor(incoming: Incoming, swarm: Swarm, words: PieceWords, usable: Usable, options: PieceJudgeOptions) {
    this.#incoming = incoming
    this.#swarm = swarm
    this.#words = words
    this.#usable = usable
    this.#options = options
  }

  /** A piece does not match the word we went by. Either its sender is at fault, or the word's author is: then both stand against each other. */
  async judge(peerId: string, index: number, bytes: Uint8Array, word: Word | undefined, signal: AbortSignal): Promise<void> {
    this.#options.metrics.pieceFailed('peer')
    if (word !== undefined && word.author !== peerId) {
      const own = await this.#words.from(peerId, index, signal).catch(() => undefined)
      if (own !== undefined && !same(own.hash, word.hash) && same(own.hash, hash('sha256', bytes, 'buffer'))) {
        // of one who was caught that is known: it is no reason not to ask it for what others hold too
        if (this.#incoming.doubts.caught.has(peerId)) {
          this.#usable.exclude(peerId, index)
          return
        }
        this.#usable.parked.add(peerId)
        this.#options.log.warn(
          { digest: String(this.#incoming.digest), index, peers: [peerId, word.author] },
          'two peers contradict each other',
        )
        return
      }
    }
    this.#usable.exclude(peerId, index)
    if (word?.author === peerId) {
      // its bytes contradict its own word: no word of its own is worth another peer's
      this.#incoming.book.suspect(peerId)
      this.unpark()
    }
    this.#swarm.report(peerId, index)
    if (word !== undefined && word.author !== peerId) {
      // it may be the word that is wrong: that is known when the whole is
      this.#mismatched(peerId, index, bytes, word.author)
      return
    }
    const wrong = (this.#wrong.get(peerId) ?? 0) + 1
    this.#wrong.set(peerId, wrong)
    this.#options.log.warn(
      { digest: String(this.#incoming.digest), index, peerId, wrong, code: 'PIECE_MISMATCH' },
      'a peer sent a wrong piece',
    )
    if (wrong >= MAX_WRONG_PIECES || this.#incoming.geometry.pieces === 1)
      this.#options.onLiar(peerId, `sent ${wrong} wrong piece(s)`)
  }

  /** Words have lost their worth: what was held against peers because of them is forgotten. */
  unpark(): void {
    this.#usable.parked.clear()
    for (const [author, against] of this.#excludedBy) {
      if (!this.#incoming.book.isSuspect(author)) continue
      for (const [peerId, index] of against) this.#usable.include(peerId, index)
      this.#excludedBy.delete(author)
    }
  }

  /** With the truth known: who sent several pieces that were wrong, whatever words there were. */
  async judgeLate(): Promise<void> {
    if (this.#sent.size === 0) return
    const truth = await this.#incoming.writer.hashes(0, this.#incoming.geometry.pieces)
    for (const [peerId, pieces] of this.#sent) {
      const wrong = [...pieces].filter(
        ([index, sent]) => !same(sent, truth[index] ?? sent) && !this.#wasMisled(peerId, index, sent),
      ).length
      if (wrong >= MAX_WRONG_PIECES) this.#options.onLiar(peerId, `sent ${wrong} wrong pieces`)
    }
    this.#sent.clear()
  }

  /** What is missing is offered only by peers that contradict somebody: then that somebody is believed no more. Suspects only grow, so it ends. */
  rehabilitate(missing: readonly number[]): void {
    const { book, doubts } = this.#incoming
    // where importers were caught, what is missing is imported
    if (doubts.caught.size > 0) return
    const parked = this.#usable.parkedOnes()
    const index = missing.find((i) => parked.some((n) => this.#usable.offers(n, i)))
    const word = index === undefined ? undefined : book.word(index)
    if (index === undefined || word === undefined) return
    if (book.isSuspect(word.author)) {
      for (const n of parked) this.#usable.exclude(n.peer.id, index)
      return
    }
    if (!this.#usable.parked.has(word.author)) book.suspect(word.author)
    this.unpark()
    this.#incoming.bell.ring()
  }

  /** Whether what a peer sent is what another signed: then that one lied to it too. */
  #wasMisled(peerId: string, index: number, sent: Uint8Array): boolean {
    return this.#incoming.book.words(index).some((word) => word.author !== peerId && same(word.hash, sent))
  }

  #mismatched(peerId: string, index: number, bytes: Uint8Array, author: string): void {
    const against = this.#excludedBy.get(author) ?? []
    against.push([peerId, index])
    this.#excludedBy.set(author, against)
    this.#options.log.info(
      { digest: String(this.#incoming.digest), index, peerId, code: 'PIECE_MISMATCH' },
      'a piece does not match what another peer says of it',
    )
    const pieces = this.#sent.get(peerId) ?? new Map<number, Uint8Array>()
    if (pieces.size < MAX_REMEMBERED) pieces.set(index, hash('sha256', bytes, 'buffer'))
    this.#sent.set(peerId, pieces)
  }
}
