import type { Bitfield } from '../../protocols/bitfield.ts'
import { pieceLength } from '../../protocols/pieces.ts'
import { codeOf, type ShoalError } from '../errors.ts'
import type { RateLimit } from '../rate-limit.ts'
import { pickPieces } from '../transfer/pick.ts'
import type { Swarm } from '../transfer/transfer.ts'
import { seedOf } from '../transfer/turns.ts'
import { AskBudget } from './ask-budget.ts'
import type { Word } from './claim-book.ts'
import type { Attempt, Incoming } from './incoming.ts'
import { PieceJudge, type PieceJudgeOptions } from './piece-judge.ts'
import { PieceWords } from './piece-words.ts'
import { secondAsks, type Underway } from './second-asks.ts'
import type { Spare } from './spare.ts'
import { SILENCE_MS, Usable } from './usable.ts'
import { Usefulness } from './usefulness.ts'
import { Ventures } from './ventures.ts'

/** A reader's next pieces are fetched in its order; beyond them rarity decides. */
const URGENT_PIECES = 2
/** How often it is looked for what is late, at most: nothing is late by so little. */
const SECONDS_EVERY_MS = 50
/** Attempts at a peer without a byte for so long are given up. */
const HOPELESS_MS = 10_000

export interface PeerSourceOptions extends PieceJudgeOptions {
  readonly selfId: string
  /** What the node may receive of everybody. */
  readonly limit: RateLimit | undefined
  /** What may come twice, over all downloads of the node. */
  readonly spare: Spare
  readonly random: () => number
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
  readonly #ventures: Ventures
  readonly #usefulness = new Usefulness()
  readonly #judge: PieceJudge
  #secondsAt = Number.NEGATIVE_INFINITY

  constructor(incoming: Incoming, swarm: Swarm, options: PeerSourceOptions) {
    this.#incoming = incoming
    this.#swarm = swarm
    this.#options = options
    this.#words = new PieceWords(incoming, swarm)
    this.#usable = new Usable(incoming, swarm)
    this.#judge = new PieceJudge(incoming, swarm, this.#words, this.#usable, options)
    this.#self = seedOf(options.selfId)
    this.#ventures = new Ventures(options.spare)
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
    this.#askSeconds(room >= pieceBytes, now)
    this.#review(now)
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

  /** Asks a peer what was signed about a piece that it holds. */
  async askWord(peerId: string, index: number, signal: AbortSignal): Promise<void> {
    await this.#words.from(peerId, index, signal)
  }

  /** Some peers were caught: these pieces are not asked of them again. */
  caught(wrong: readonly number[]): void {
    for (const peerId of this.#incoming.doubts.caught) for (const index of wrong) this.#usable.exclude(peerId, index)
    this.unpark()
  }

  /** Words have lost their worth: what was held against peers because of them is forgotten. */
  unpark(): void {
    this.#judge.unpark()
  }

  /** With the truth known: who sent several pieces that were wrong, whatever words there were. */
  async judgeLate(): Promise<void> {
    await this.#judge.judgeLate()
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
    if (picks.length === 0 && attempts.size === 0) this.#judge.rehabilitate(missing)
  }

  /** Neighbours that are of no use give way to others that are known. */
  #review(now: number): void {
    if (this.#swarm.waiting === 0 || !this.#usefulness.due(now)) return
    const replaced = this.#usefulness.review(this.#usable.seated(now), this.#incoming.writer.have, now)
    if (replaced.length > 0) this.#swarm.exchange(replaced)
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

  /** Asks second holders for what is late. */
  #askSeconds(room: boolean, now: number): void {
    const { attempts, demand, geometry, writer } = this.#incoming
    if (attempts.size === 0 || now < this.#secondsAt) return
    this.#secondsAt = now + SECONDS_EVERY_MS
    const underway = this.#underway(now)
    if (underway.length === 0) return
    const taken = (index: number) => this.#incoming.taken(index) || this.#incoming.doubts.bars(index)
    const asks = secondAsks(underway, this.#usable.seconds(now), {
      endgame: room && demand.missing(taken).length === 0,
      urgent: demand.urgent((index) => writer.have.has(index), URGENT_PIECES),
      spareBytes: this.#options.spare.room(geometry.pieceBytes),
    })
    for (const { peerId, index, spareBytes } of asks) {
      this.#options.log.trace({ digest: String(this.#incoming.digest), index, peerId, spareBytes }, 'asked of a second')
      void this.#fetch(peerId, index, spareBytes)
    }
  }

  /** What has been asked of one peer alone, or is being imported, and may be late. */
  #underway(now: number): Underway[] {
    const silent = new Set(this.#usable.list().flatMap((n) => (this.#usable.stalled(n, now) ? n.peer.id : [])))
    const underway: Underway[] = []
    for (const [index, attempts] of this.#incoming.attempts) {
      const [only] = attempts
      if (only === undefined || attempts.length > 1 || this.#incoming.doubts.bars(index)) continue
      const { from, begunAt, progressedAt, expectedMs, receivedBytes } = only
      const quiet = from === 'origin' ? now - progressedAt > SILENCE_MS : silent.has(from)
      if (!quiet && expectedMs === undefined) continue
      const lengthBytes = pieceLength(this.#incoming.geometry, index)
      underway.push({ index, from, lengthBytes, receivedBytes, elapsedMs: now - begunAt, expectedMs, silent: quiet })
    }
    return underway
  }

  /** @param venturedBytes it has been asked of another too, who may be at it: so much may come twice */
  async #fetch(peerId: string, index: number, venturedBytes = 0): Promise<void> {
    if (this.#usable.excludes(peerId, index)) return
    const { geometry, writer } = this.#incoming
    const length = pieceLength(geometry, index)
    const attempt = this.#incoming.begin(index, peerId, this.#usable.expectedMs(peerId, length))
    const { signal } = attempt.abort
    const over = this.#ventures.begin(index, venturedBytes)
    let before = 0
    let asked = false
    this.#budget.spend(length)
    try {
      const buffer = await writer.buffer(length, { signal })
      try {
        const { word, onClaim } = this.#words.expect(peerId, index, signal)
        word.catch(() => {})
        asked = true
        await this.#swarm.request(peerId, index, buffer.bytes, {
          signal,
          onClaim:
            onClaim &&
            ((claim) => {
              onClaim(claim)
              // on that word it would not be kept: what would come of it is spared
              if (claim !== undefined && this.#incoming.doubts.refuses(index, claim.author)) attempt.abort.abort()
            }),
          onOver: over,
          onProgress: (received) => {
            this.#incoming.progress(attempt, received - before)
            this.#usable.gives(peerId)
            before = received
          },
        })
        await this.#received(peerId, index, buffer.bytes, await word, attempt)
      } finally {
        buffer.release()
      }
    } catch (error) {
      this.#budget.giveBack(length - before)
      this.#inVain(peerId, attempt)
      this.#failed(peerId, index, error, signal)
    } finally {
      // what was called off may still come
      if (!asked || !signal.aborted) over(0)
      this.#incoming.end(index, attempt)
    }
  }

  /** All of a piece is there. */
  async #received(peerId: string, index: number, bytes: Uint8Array, word: Word | undefined, attempt: Attempt): Promise<void> {
    const { spare } = this.#options
    const outcome = await this.accept(peerId, index, bytes, word, attempt)
    if (outcome === 'twice') spare.settle(0, bytes.length)
    else if (outcome === 'held') spare.earn(bytes.length)
    if (outcome !== 'wrong') this.#usefulness.gave(peerId)
  }

  /** A request brought nothing: called off because another was quicker, which may be no shame, or else. */
  #inVain(peerId: string, { abort, begunAt, receivedBytes }: Attempt): void {
    const now = performance.now()
    this.#usable.givenUp(peerId, now)
    const silent = receivedBytes === 0 && now - begunAt > this.#usable.patienceMs(peerId)
    if (silent || !abort.signal.aborted) this.#usefulness.askedInVain(peerId)
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
  async accept(
    peerId: string,
    index: number,
    bytes: Uint8Array,
    word: Word | undefined,
    attempt: Attempt,
  ): Promise<'held' | 'twice' | 'wrong'> {
    if (word === undefined && this.#incoming.geometry.pieces > 1) {
      this.#usable.exclude(peerId, index)
      return 'wrong'
    }
    if (word !== undefined && this.#incoming.doubts.refuses(index, word.author)) return 'wrong'
    try {
      return (await this.#incoming.put(index, bytes, word?.hash, attempt)) === undefined ? 'twice' : 'held'
    } catch (error) {
      if (codeOf(error) !== 'PIECE_MISMATCH') throw error
      await this.#judge.judge(peerId, index, bytes, word, attempt.abort.signal)
      return 'wrong'
    }
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
