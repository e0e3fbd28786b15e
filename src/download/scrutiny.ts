import type { Neighbour } from '../transfer/transfer.ts'
import { same, type Word } from './claim-book.ts'
import { arbitersFor, disagree, ENOUGH, fallsTo, importWords, outvoted, signedOf } from './contests.ts'
import type { Incoming } from './incoming.ts'
import { Inspection } from './inspection.ts'
import type { SharedParts } from './parts.ts'

/** A look at the origin that takes longer keeps nobody from getting the piece otherwise. */
const LOOK_MS = 5_000
/** More than one importer in so many is not wrong. */
const MOST_WRONG = 3
/** Pieces that this node looks at, and those that it knows to be contested. */
const MAX_CONTESTED = 64

export interface ScrutinyOptions {
  readonly incoming: Incoming
  readonly parts: Pick<SharedParts, 'peerId' | 'accusations' | 'proven' | 'random' | 'log' | 'transfer'>
  readonly neighbours: () => readonly Neighbour[]
  /** How many more are known to want the blob. */
  readonly waiting: () => number
  /** Asks a peer what was signed about a piece that it holds, and those after it. */
  readonly ask: (peerId: string, index: number) => Promise<unknown>
  /** Whether single pieces can be imported. */
  readonly importable: () => boolean
  /** Words have lost their worth: whoever was caught has rather something wrong there. */
  readonly onCaught: (wrong: readonly number[]) => void
}

/**
 * Watches importers while a blob still comes in (design 4). A few pieces are imported twice, by whom they fall to; where two importers say
 * otherwise of a piece, two more see for themselves, and all are shown what was signed. Who says otherwise than our own origin, or than most
 * who looked, is believed no more, and what only such vouch for is brought in anew. It proves nothing: that takes the digest.
 */
export class Scrutiny {
  readonly #options: ScrutinyOptions
  readonly #inspection: Inspection
  /** Pieces that this node looks at, and since when. */
  readonly #looks = new Map<number, number>()
  /** Pieces that importers disagree about, and of which this node has not seen what its origin has. */
  readonly #contested = new Set<number>()
  readonly #told = new Set<string>()
  /** Importers whom our own origin contradicts. */
  readonly #disproved = new Set<string>()
  /** Those of them whom nobody but us contradicts there. */
  readonly #ours = new Set<string>()
  /** How many they are, once they are more than one in `MOST_WRONG` of all importers. */
  #most = 0
  #weighing = false

  constructor(options: ScrutinyOptions) {
    this.#options = options
    this.#inspection = new Inspection({ ...options, see: (index) => this.#see(index) })
  }

  pump(now: number): void {
    const { incoming, importable } = this.#options
    if (incoming.geometry.pieces < 2 || this.isDoubtful) return
    if (!this.#weighing) {
      const news = incoming.book.takeNews()
      if (news.length > 0) void this.#weigh(news)
    }
    this.#giveUp()
    if (importable()) this.#inspection.pump(now)
  }

  /** Whether looking after an importer falls to this node. */
  isMine(author: string): boolean {
    return this.#inspection.isMine(author)
  }

  /** Compares what is said of pieces, and draws the consequences. */
  async #weigh(news: readonly number[]): Promise<void> {
    const { incoming, parts } = this.#options
    const { imported, doubts, writer } = incoming
    this.#weighing = true
    try {
      const before = new Set(doubts.caught)
      for (const index of news) {
        const own = imported.has(index) ? (await writer.hashes(index, 1))[0] : undefined
        if (own !== undefined) this.#disprove(index, own)
        else if (disagree(this.#said(index)) && this.#contested.size < MAX_CONTESTED) this.#contested.add(index)
      }
      this.#vote()
      for (const index of this.#contested) await this.#arbitrate(index)
      const caught = [...doubts.caught].filter((author) => !before.has(author))
      if (caught.length === 0) return
      this.#inspection.alarm()
      parts.log.warn(
        { digest: String(incoming.digest), peers: caught },
        'importers signed what is not so: they are believed no more',
      )
      for (const author of caught) if (!this.#disproved.has(author)) this.#passOn(author)
      await this.#dropLies()
    } catch (err) {
      parts.log.debug({ digest: String(incoming.digest), err }, 'what importers say could not be compared')
    } finally {
      this.#weighing = false
      incoming.bell.ring()
    }
  }

  /**
   * So many say otherwise than our own origin, and nobody says so, or they are more than a few of all importers: it is the one that is wrong,
   * or they are in league. The digest will tell.
   */
  get isDoubtful(): boolean {
    return this.#ours.size >= ENOUGH || this.#most >= ENOUGH
  }

  /** Who is contradicted by our own origin is not believed again. */
  #disprove(index: number, own: Uint8Array): void {
    if (this.isDoubtful) return
    const { incoming, parts, neighbours } = this.#options
    this.#contested.delete(index)
    const said = this.#said(index)
    const wrong = said.filter((word) => !same(word.hash, own))
    for (const { author } of wrong) {
      if (!incoming.doubts.caught.has(author)) this.#tell(index, own, author)
      this.#disproved.add(author)
      if (wrong.length === said.length) this.#ours.add(author)
    }
    const crowd = neighbours().filter(({ state }) => state === 'partial').length + 1
    if (MOST_WRONG * this.#disproved.size > crowd) this.#most = Math.max(this.#most, this.#disproved.size)
    if (!this.isDoubtful) return
    this.#disproved.clear()
    this.#contested.clear()
    parts.log.warn(
      { digest: String(incoming.digest) },
      'our origin has what no other importer was given: the digest will tell who is right',
    )
  }

  /** Who is contradicted by enough others is not believed, for as long as that is so. Who can't see for itself waits for the digest. */
  #vote(): void {
    const { incoming, importable } = this.#options
    const { book, doubts } = incoming
    const found = importable() ? outvoted([...this.#contested].map((index) => this.#said(index))) : new Set<string>()
    for (const author of this.#disproved) found.add(author)
    book.outvote(found)
    for (const author of doubts.caught) if (!found.has(author)) doubts.caught.delete(author)
    for (const author of found) doubts.caught.add(author)
  }

  /** What importers say whom our own origin has not contradicted. */
  #said(index: number): readonly Word[] {
    return importWords(this.#options.incoming.book.words(index)).filter((word) => !this.#disproved.has(word.author))
  }

  /** Whether importers disagree who have not been caught. */
  #isOpen(index: number): boolean {
    return disagree(this.#believed(index))
  }

  /** What importers say who have not been caught of each piece that they disagree about. */
  #open(): Map<number, readonly Word[]> {
    return new Map([...this.#contested].flatMap((index) => (this.#isOpen(index) ? [[index, this.#believed(index)]] : [])))
  }

  #believed(index: number): readonly Word[] {
    const { caught } = this.#options.incoming.doubts
    return this.#said(index).filter((word) => !caught.has(word.author))
  }

  /** Shows neighbours what this node's origin has and what was signed: each weighs it for itself. */
  #tell(index: number, hash: Uint8Array, author: string): void {
    const { incoming, parts } = this.#options
    const { book, digest, geometry } = incoming
    if (this.#told.has(author)) return
    this.#told.add(author)
    const against = signedOf(book.about(index, 1, author), index, (said) => !same(said, hash))
    if (against !== undefined) parts.accusations.contest({ digest, size: geometry.size, index, hash, against })
  }

  /** Shows neighbours who has convinced this node: not everybody hears everything. */
  #passOn(author: string): void {
    const { incoming, parts } = this.#options
    const { book, digest, geometry } = incoming
    const told = new Set<string>()
    for (const index of this.#contested) {
      const words = this.#said(index)
      const wrong = words.find((word) => word.author === author)
      if (wrong === undefined) continue
      const against = signedOf(book.about(index, 1, author), index, (said) => same(said, wrong.hash))
      for (const { author: other, hash } of words) {
        if (same(hash, wrong.hash) || told.has(other) || told.size >= ENOUGH) continue
        const by = signedOf(book.about(index, 1, other), index, (said) => same(said, hash))
        if (by === undefined || against === undefined) continue
        told.add(other)
        parts.accusations.contest({ digest, size: geometry.size, index, hash, against, by })
      }
    }
  }

  /** Two importers disagree, and this node may be one of those who see for themselves. */
  async #arbitrate(index: number): Promise<void> {
    const { incoming, parts, importable, neighbours } = this.#options
    if (!importable() || !this.#isOpen(index)) return
    const parties = new Set(this.#said(index).map((word) => word.author))
    const able = neighbours().flatMap(({ peer, state }) => (state === 'partial' ? peer.id : []))
    const others = able.filter((id) => !parties.has(id) && !incoming.doubts.caught.has(id))
    const places = arbitersFor(index, this.#open())
    if (fallsTo(parts.peerId, `${incoming.digest} ${index}`, others, places)) await this.#see(index)
  }

  /** Imports a piece, whoever holds it. */
  async #see(index: number): Promise<void> {
    const { incoming } = this.#options
    if (this.#looks.has(index) || this.#looks.size >= MAX_CONTESTED) return
    this.#looks.set(index, performance.now())
    incoming.doubts.audit(index)
    await this.#drop([index])
    incoming.bell.ring()
  }

  /** What takes too long, or has been settled meanwhile, comes as other pieces do. */
  #giveUp(): void {
    const { doubts, imported, attempts } = this.#options.incoming
    for (const [index, since] of this.#looks) {
      const settled = this.#contested.has(index) && !this.#isOpen(index)
      if (!imported.has(index) && (attempts.has(index) || (!settled && performance.now() - since < LOOK_MS))) continue
      this.#looks.delete(index)
      doubts.unaudit(index)
    }
  }

  /** What only those vouch for who were caught is brought in anew. */
  async #dropLies(): Promise<void> {
    const { incoming, onCaught } = this.#options
    const { book, doubts, writer, imported, geometry } = incoming
    const held = await writer.hashes(0, geometry.pieces)
    const wrong: number[] = []
    for (let index = 0; index < geometry.pieces; index++) {
      const hash = held[index]
      const words = book.words(index)
      const vouchers = hash === undefined ? words : words.filter((word) => same(word.hash, hash))
      if (vouchers.length > 0 && !imported.has(index) && vouchers.every((word) => doubts.caught.has(word.author)))
        wrong.push(index)
    }
    doubts.bar(wrong)
    await this.#drop(wrong)
    onCaught(wrong)
  }

  async #drop(indices: readonly number[]): Promise<void> {
    const { incoming, parts } = this.#options
    for (const index of indices)
      for (const attempt of incoming.attempts.get(index) ?? []) if (attempt.from !== 'origin') attempt.abort.abort()
    const held = indices.filter((index) => incoming.writer.have.has(index))
    if (held.length === 0) return
    await incoming.drop(held)
    parts.transfer.refresh(incoming.digest)
  }
}
