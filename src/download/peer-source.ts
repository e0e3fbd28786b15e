import { hash } from 'node:crypto'
import { pieceLength } from '../../protocols/pieces.ts'
import { codeOf, type ShoalError } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { pickPieces, type Source } from '../transfer/pick.ts'
import type { Neighbour, Swarm } from '../transfer/transfer.ts'
import { same, type Word } from './claim-book.ts'
import type { Attempt, Incoming } from './incoming.ts'
import { PieceWords } from './piece-words.ts'

/** Bytes asked of all peers together for one blob. */
const TOTAL_OUTSTANDING_BYTES = 16 * 1024 * 1024
/** A reader's next pieces are fetched in its order; beyond them rarity decides. */
const URGENT_PIECES = 8
/** Wrong pieces after which a peer is banned: a disk gone bad is told by the first report and stops offering. */
const MAX_WRONG_PIECES = 4
/** Mismatches remembered of one peer. */
const MAX_REMEMBERED = 32
/** Peers that hold a piece but have sent nothing for so long do not keep it from being imported. */
const SILENCE_MS = 2_000
/** Attempts at a peer without a byte for so long are given up. */
const HOPELESS_MS = 10_000

export interface PeerSourceOptions {
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
  readonly #wrong = new Map<string, number>()
  /** Pieces that are not asked of peers because of this author's word. */
  readonly #excludedBy = new Map<string, [peerId: string, index: number][]>()
  /** What peers sent that did not match another's word, by piece: judged when the truth is known. */
  readonly #sent = new Map<string, Map<number, Uint8Array>>()
  /** Pieces that a peer, whatever it says, did not or should not give us. */
  readonly #without = new Map<string, Set<number>>()
  /** Peers whose word contradicts a better one's: not asked until that one turns out a liar. */
  readonly #parked = new Set<string>()

  constructor(incoming: Incoming, swarm: Swarm, options: PeerSourceOptions) {
    this.#incoming = incoming
    this.#swarm = swarm
    this.#options = options
    this.#words = new PieceWords(incoming, swarm)
  }

  /** Asks for as much as is wanted and there is room for. */
  pump(now: number): void {
    this.#giveUpHopeless(now)
    const { demand, geometry } = this.#incoming
    if (demand.readers === 0 || !this.#incoming.trustsPeers) return
    const taken = (index: number) => this.#incoming.taken(index)
    const missing = demand.missing(taken)
    if (missing.length > 0) {
      const picks = pickPieces(
        {
          missing,
          urgent: demand.urgent(taken, URGENT_PIECES),
          pieceBytes: geometry.pieceBytes,
          roomBytes: TOTAL_OUTSTANDING_BYTES - this.#incoming.attempts.size * geometry.pieceBytes,
        },
        this.#sources(now),
        this.#options.random,
      )
      for (const { peerId, index } of picks) void this.#fetch(peerId, index)
      if (picks.length === 0 && this.#incoming.attempts.size === 0) this.#rehabilitate(missing)
    }
    this.#hedge(now)
  }

  /** Whether some peer holds the piece and is not silent for so long that the origin should be gone to. */
  covers(index: number, now: number): boolean {
    return (
      this.#incoming.trustsPeers &&
      this.#useful().some((n) => this.#offers(n, index) && this.#silentMs(n.peer.id, now) < SILENCE_MS)
    )
  }

  /** Whether one peer that shows signs of life holds everything: the common case, told without looking at each piece. */
  coversAll(now: number): boolean {
    if (!this.#incoming.trustsPeers) return false
    return this.#useful().some(
      (n) => n.state === 'complete' && !this.#without.has(n.peer.id) && this.#silentMs(n.peer.id, now) < SILENCE_MS,
    )
  }

  /** Whether any neighbour holds anything, or might come to. */
  get hopeful(): boolean {
    return this.#swarm.neighbours().some((n) => (n.state === 'partial' || n.state === 'complete') && this.#fits(n))
  }

  /** Whether some neighbour that is not connected now may come back. */
  get mayReturn(): boolean {
    return this.#swarm.neighbours().some((n) => n.state === 'failed' || n.state === 'connecting' || n.state === 'asked')
  }

  /** Whether a neighbour says that the blob has another size, which is not among these. */
  saysOtherSize(disproved: ReadonlySet<number>): boolean {
    return this.#swarm.neighbours().some((n) => n.size !== undefined && !this.#fits(n) && !disproved.has(n.size))
  }

  /** After the whole digest failed: collects what every neighbour says of every piece. */
  async gatherWords(signal: AbortSignal): Promise<void> {
    await this.#words.gather(this.#useful(), signal)
  }

  /** Words have lost their worth: what was held against peers because of them is forgotten. */
  unpark(): void {
    this.#parked.clear()
    for (const [author, against] of this.#excludedBy) {
      if (!this.#incoming.book.isSuspect(author)) continue
      for (const [peerId, index] of against) this.#without.get(peerId)?.delete(index)
      this.#excludedBy.delete(author)
    }
  }

  /** With the truth known: who sent several pieces that were wrong, whatever words there were. */
  async judgeLate(): Promise<void> {
    if (this.#sent.size === 0) return
    const truth = await this.#incoming.writer.hashes(0, this.#incoming.geometry.pieces)
    for (const [peerId, pieces] of this.#sent) {
      const wrong = [...pieces].filter(([index, sent]) => !same(sent, truth[index] ?? sent)).length
      if (wrong >= MAX_WRONG_PIECES) this.#options.onLiar(peerId, `sent ${wrong} wrong pieces`)
    }
    this.#sent.clear()
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
    const parked = this.#swarm.neighbours().filter((n) => this.#parked.has(n.peer.id) && this.#fits(n))
    const index = missing.find((i) => parked.some((n) => this.#offers(n, i)))
    const word = index === undefined ? undefined : book.word(index)
    if (index === undefined || word === undefined) return
    if (book.isSuspect(word.author)) {
      for (const n of parked) this.#exclude(n.peer.id, index)
      return
    }
    if (!this.#parked.has(word.author)) book.suspect(word.author)
    this.unpark()
    this.#incoming.bell.ring()
  }

  #sources(now: number): Source[] {
    return this.#useful()
      .filter((n) => n.busyUntil <= now && !this.#stalled(n, now))
      .map((n) => ({
        peerId: n.peer.id,
        have: n.have as NonNullable<typeof n.have>,
        without: this.#without.get(n.peer.id),
        roomBytes: n.allowanceBytes - n.outstandingBytes,
        outstandingBytes: n.outstandingBytes,
        load: n.load,
      }))
  }

  #useful(): Neighbour[] {
    return this.#swarm
      .neighbours()
      .filter((n) => (n.state === 'partial' || n.state === 'complete') && this.#fits(n) && !this.#parked.has(n.peer.id))
  }

  #fits(n: Neighbour): boolean {
    return n.size === this.#incoming.geometry.size && n.have !== undefined
  }

  #offers(n: Neighbour, index: number): boolean {
    return n.have?.has(index) === true && this.#without.get(n.peer.id)?.has(index) !== true
  }

  /** Silent for longer than its own history explains: others are asked instead. */
  #stalled(n: Neighbour, now: number): boolean {
    return this.#silentMs(n.peer.id, now) > n.patienceMs
  }

  /** How long a peer that owes us pieces has sent no byte of any of them: requests queue at it, so one alone says nothing. */
  #silentMs(peerId: string, now: number): number {
    let last: number | undefined
    for (const attempts of this.#incoming.attempts.values()) {
      for (const a of attempts) if (a.from === peerId && (last === undefined || a.progressedAt > last)) last = a.progressedAt
    }
    return last === undefined ? 0 : now - last
  }

  #giveUpHopeless(now: number): void {
    for (const attempts of this.#incoming.attempts.values()) {
      for (const a of attempts) if (a.from !== 'origin' && this.#silentMs(a.from, now) > HOPELESS_MS) a.abort.abort()
    }
  }

  /** Asks a second peer for pieces whose first is silent for too long. */
  #hedge(now: number): void {
    const useful = this.#useful()
    const silent = useful.filter((n) => this.#stalled(n, now))
    if (silent.length === 0) return
    const others = useful.filter((n) => !silent.includes(n) && n.busyUntil <= now)
    for (const [index, attempts] of this.#incoming.attempts) {
      const only = attempts[0] as Attempt
      if (attempts.length > 1 || !silent.some((n) => n.peer.id === only.from)) continue
      const other = others.find((n) => this.#offers(n, index) && n.outstandingBytes < n.allowanceBytes)
      if (other !== undefined) void this.#fetch(other.peer.id, index)
    }
  }

  async #fetch(peerId: string, index: number): Promise<void> {
    if (this.#without.get(peerId)?.has(index)) return
    const { geometry, writer } = this.#incoming
    const attempt = this.#incoming.begin(index, peerId)
    const { signal } = attempt.abort
    try {
      const buffer = await writer.buffer(pieceLength(geometry, index), { signal })
      try {
        const word = this.#words.find(peerId, index, signal)
        word.catch(() => {})
        await this.#swarm.request(peerId, index, buffer.bytes, {
          signal,
          onProgress: () => {
            attempt.progressedAt = performance.now()
          },
        })
        await this.accept(peerId, index, buffer.bytes, await word, attempt)
      } finally {
        buffer.release()
      }
    } catch (error) {
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
      this.#exclude(peerId, index)
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
        this.#parked.add(peerId)
        this.#options.log.warn(
          { digest: String(this.#incoming.digest), index, peers: [peerId, word.author] },
          'two peers contradict each other',
        )
        return
      }
    }
    this.#exclude(peerId, index)
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

  #exclude(peerId: string, index: number): void {
    const without = this.#without.get(peerId)
    if (without === undefined) this.#without.set(peerId, new Set([index]))
    else without.add(index)
  }

  #failed(peerId: string, index: number, error: unknown, signal: AbortSignal): void {
    if (signal.aborted) return
    const code = codeOf(error)
    if (code === 'STORE_FULL' || code === 'STORE_FAILED' || code === 'NODE_CLOSED') this.#options.onFailure(error)
    else if (code === 'PEER_LACKS_PIECE') this.#exclude(peerId, index)
    else if (code !== 'PEER_BUSY') {
      this.#options.log.debug(
        { peerId, index, code, err: code === undefined ? (error as ShoalError) : undefined },
        'a peer did not give a piece',
      )
    }
  }
}
