import { hash } from 'node:crypto'
import type { Bitfield } from '../../protocols/bitfield.ts'
import { pieceLength } from '../../protocols/pieces.ts'
import { codeOf, type ShoalError } from '../errors.ts'
import type { RateLimit } from '../rate-limit.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { pickPieces } from '../transfer/pick.ts'
import type { Swarm } from '../transfer/transfer.ts'
import { seedOf } from '../transfer/turns.ts'
import { AskBudget } from './ask-budget.ts'
import { same, type Word } from './claim-book.ts'
import type { Attempt, Incoming } from './incoming.ts'
import { PieceWords } from './piece-words.ts'
import { Usable } from './usable.ts'

/** A reader's next pieces are fetched in its order; beyond them rarity decides. */
const URGENT_PIECES = 2
/** Wrong pieces after which a peer is banned: a disk gone bad is told by the first report and stops offering. */
const MAX_WRONG_PIECES = 4
/** Mismatches remembered of one peer. */
const MAX_REMEMBERED = 32
/** Attempts at a peer without a byte for so long are given up. */
const HOPELESS_MS = 10_000

export interface PeerSourceOptions {
  readonly selfId: string
  /** What the node may receive of everybody. */
  readonly limit: RateLimit | undefined
  readonly random: () => number
  readonly log: Log
  readonly metrics: Metrics
  /** Told of a peer that is found to send wrong pieces on purpose. */
  readonly onLiar: (peerId: string, reason: string) => void
  /** Told of errors that end the download (the store's). */
  readonly onFailure: (error: unknown) => void
}

/** Brings in pieces from the neighbours of one swarm. */
export class PeerSource {
  readonly #incoming: Incoming
  readonly #swarm: Swarm
  readonly #options: PeerSourceOptions
  readonly #words: PieceWords
  readonly #usable: Usable
  readonly #self: number
  readonly #budget: AskBudget
  readonly #wrong = new Map<string, number>()
  /** Pieces that are not asked of peers because of this author's word. */
  readonly #excludedBy = new Map<string, [peerId: string, index: number][]>()
  /** What peers sent that did not match another's word, by piece: judged when the truth is known. */
  readonly #sent = new Map<string, Map<number, Uint8Array>>()

  constructor(incoming: Incoming, swarm: Swarm, options: PeerSourceOptions) {
    this.#incoming = incoming
    this.#swarm = swarm
    this.#options = options
    this.#words = new PieceWords(incoming, swarm)
    this.#usable = new Usable(incoming, swarm)
    this.#self = seedOf(options.selfId)
    this.#budget = new AskBudget(options.limit, () => incoming.bell.ring())
  }

  /** Asks for as much as is wanted and there is room for. */
  pump(now: number): void {
    this.#giveUpHopeless(now)
    const { demand, geometry, attempts } = this.#incoming
    if (demand.readers === 0) return
    this.#words.seek(this.#usable.list(), now)
    const { pieceBytes } = geometry
    const room = this.#incoming.downlink.roomBytes(pieceBytes, this.#usable.delayMs)
    // one piece at a time moves whatever others take of the room
    const roomBytes = attempts.size === 0 ? Math.max(room, pieceBytes) : room
    if (roomBytes >= pieceBytes) this.#ask(roomBytes, now)
    this.#hedge(now)
  }

  /** What some peer holds who is not silent for so long that the origin should be gone to. */
  coverage(now: number): Bitfield {
    const covered = this.#usable.coverage(now)
    for (const index of this.#incoming.doubts.barred()) covered.delete(index)
    return covered
  }

  covers(index: number, now: number): boolean {
    return !this.#incoming.doubts.bars(index) && this.#usable.covers(index, now)
  }

  /** Whether any neighbour holds anything, or might come to. */
  get hopeful(): boolean {
    return this.#usable.hopeful
  }

  /** Whether some neighbour that is not connected now may come back. */
  get mayReturn(): boolean {
    return this.#usable.mayReturn
  }

  /** Whether the node's rate limit is what holds it back. */
  get held(): boolean {
    return this.#budget.waiting
  }

  close(): void {
    this.#budget[Symbol.dispose]()
  }

  /** Whether a neighbour says that the blob has another size, which is not among these. */
  saysOtherSize(disproved: ReadonlySet<number>): boolean {
    return this.#usable.saysOtherSize(disproved)
  }

  /** After the whole digest failed: collects what every neighbour says of every piece. */
  async gatherWords(signal: AbortSignal): Promise<void> {
    await this.#words.gather(this.#usable.list(), signal)
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

  /** What is missing is offered only by peers that contradict somebody: then that somebody is believed no more. Suspects only grow, so it ends. */
  #rehabilitate(missing: readonly number[]): void {
    const { book } = this.#incoming
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

  #ask(roomBytes: number, now: number): void {
    const { demand, geometry, attempts } = this.#incoming
    const taken = (index: number) => this.#incoming.taken(index) || this.#incoming.doubts.bars(index)
    const missing = demand.missing(taken)
    if (missing.length === 0) return
    const { pieceBytes } = geometry
    const mayAsk = this.#budget.room(Math.min(roomBytes, missing.length * pieceBytes), pieceBytes)
    if (mayAsk < pieceBytes) return
    const want = { missing, urgent: demand.urgent(taken, URGENT_PIECES), pieceBytes, roomBytes: mayAsk }
    const sources = this.#usable.sources(now)
    const turns = { self: this.#self, rivals: this.#usable.rivals() }
    let picks = pickPieces({ ...want, turns }, sources, this.#options.random)
    // who has nothing on its way asks for one out of turn: those before it may want none
    if (picks.length === 0 && !this.#busy) picks = pickPieces({ ...want, roomBytes: pieceBytes }, sources, this.#options.random)
    for (const { peerId, index } of picks) void this.#fetch(peerId, index)
    if (picks.length === 0 && attempts.size === 0) this.#rehabilitate(missing)
  }

  /** Some piece is on its way from a peer. */
  get #busy(): boolean {
    for (const attempts of this.#incoming.attempts.values()) if (attempts.some(({ from }) => from !== 'origin')) return true
    return false
  }

  #giveUpHopeless(now: number): void {
    for (const attempts of this.#incoming.attempts.values()) {
      for (const a of attempts) if (a.from !== 'origin' && this.#usable.silentMs(a.from, now) > HOPELESS_MS) a.abort.abort()
    }
  }

  /** Asks a second peer for pieces whose first is silent for too long. */
  #hedge(now: number): void {
    const useful = this.#usable.list()
    const silent = useful.filter((n) => this.#usable.stalled(n, now))
    if (silent.length === 0) return
    const others = useful.filter((n) => !silent.includes(n) && n.busyUntil <= now)
    for (const [index, attempts] of this.#incoming.attempts) {
      const only = attempts[0] as Attempt
      if (attempts.length > 1 || !silent.some((n) => n.peer.id === only.from)) continue
      const other = others.find((n) => this.#usable.offers(n, index) && n.outstandingBytes < n.allowanceBytes)
      if (other !== undefined) void this.#fetch(other.peer.id, index)
    }
  }

  async #fetch(peerId: string, index: number): Promise<void> {
    if (this.#usable.excludes(peerId, index)) return
    const { geometry, writer } = this.#incoming
    const attempt = this.#incoming.begin(index, peerId)
    const { signal } = attempt.abort
    const length = pieceLength(geometry, index)
    let before = 0
    this.#budget.spend(length)
    try {
      const buffer = await writer.buffer(length, { signal })
      try {
        const { word, onClaim } = this.#words.expect(peerId, index, signal)
        word.catch(() => {})
        await this.#swarm.request(peerId, index, buffer.bytes, {
          signal,
          onClaim,
          onProgress: (received) => {
            this.#incoming.progress(attempt, received - before)
            before = received
          },
        })
        await this.accept(peerId, index, buffer.bytes, await word, attempt)
      } finally {
        buffer.release()
      }
    } catch (error) {
      this.#budget.giveBack(length - before)
      this.#failed(peerId, index, error, signal)
    } finally {
      this.#incoming.end(index, attempt)
    }
  }

  /** Takes a first piece that was asked for before the blob's size was known. */
  async acceptEarly(peerId: string, bytes: Uint8Array): Promise<void> {
    if (this.#incoming.geometry.pieces === 0) return
    const attempt = this.#incoming.begin(0, peerId)
    try {
      await this.accept(peerId, 0, bytes, await this.#words.find(peerId, 0, attempt.abort.signal), attempt)
    } catch (error) {
      this.#failed(peerId, 0, error, attempt.abort.signal)
    } finally {
      this.#incoming.end(0, attempt)
    }
  }

  /** Puts what a peer sent, or finds out why it does not match. */
  async accept(peerId: string, index: number, bytes: Uint8Array, word: Word | undefined, attempt: Attempt): Promise<void> {
    if (word === undefined && this.#incoming.geometry.pieces > 1) {
      this.#usable.exclude(peerId, index)
      return
    }
    try {
      await this.#incoming.put(index, bytes, word?.hash, attempt)
    } catch (error) {
      if (codeOf(error) !== 'PIECE_MISMATCH') throw error
      await this.#judge(peerId, index, bytes, word, attempt.abort.signal)
    }
  }

  /** A piece does not match the word we went by. Either its sender is at fault, or the word's author is: then both stand against each other. */
  async #judge(peerId: string, index: number, bytes: Uint8Array, word: Word | undefined, signal: AbortSignal): Promise<void> {
    this.#options.metrics.pieceFailed('peer')
    if (word !== undefined && word.author !== peerId) {
      const own = await this.#words.from(peerId, index, signal).catch(() => undefined)
      if (own !== undefined && !same(own.hash, word.hash) && same(own.hash, hash('sha256', bytes, 'buffer'))) {
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

  #failed(peerId: string, index: number, error: unknown, signal: AbortSignal): void {
    if (signal.aborted) return
    const code = codeOf(error)
    if (code === 'STORE_FULL' || code === 'STORE_FAILED' || code === 'NODE_CLOSED') this.#options.onFailure(error)
    else if (code === 'PEER_LACKS_PIECE') this.#usable.exclude(peerId, index)
    else if (code !== 'PEER_BUSY') {
      this.#options.log.debug(
        { peerId, index, code, err: code === undefined ? (error as ShoalError) : undefined },
        'a peer did not give a piece',
      )
    }
  }
}
