import { sample } from '../sample.ts'
import type { Neighbour } from '../transfer/transfer.ts'
import { chanceOfLook, fallsTo } from './contests.ts'
import type { ScrutinyOptions } from './scrutiny.ts'

/** Questions to one importer until it is known what it imported, and how seldom. */
const MAX_QUESTIONS = 8
const ASK_EVERY_MS = 200
/** A crowd is as large as it seems when nobody has joined it for so long; what comes early looks at strangers sooner. */
const SETTLED_MS = 1_500
const STRANGERS_SETTLED_MS = 500

export interface InspectionOptions extends Pick<ScrutinyOptions, 'incoming' | 'parts' | 'neighbours' | 'waiting' | 'ask'> {
  /** Imports a piece, whoever holds it. */
  readonly see: (index: number) => Promise<void>
}

/**
 * Looks after importers before there is a reason to: each falls to one node of the crowd, which imports a piece of its as well, or is
 * spared by chance. Which piece nobody can tell beforehand. Once somebody has been found to lie, none is spared.
 */
export class Inspection {
  readonly #options: InspectionOptions
  /** Importers of whom a piece has been looked at, and what chance says of each. */
  readonly #done = new Set<string>()
  readonly #lots = new Map<string, number>()
  readonly #questions = new Map<string, number>()
  #alarmed = false
  #asking = false
  #askAt = 0
  /** The largest that the crowd has seemed, this node included, and since when. */
  #crowd = 0
  #grewAt = 0

  constructor(options: InspectionOptions) {
    this.#options = options
  }

  alarm(): void {
    this.#alarmed = true
  }

  /** Whether looking after an importer falls to this node. */
  isMine(author: string): boolean {
    const { incoming, parts } = this.#options
    const { caught } = incoming.doubts
    const others = this.#importers().flatMap(({ peer }) => (peer.id === author || caught.has(peer.id) ? [] : peer.id))
    return fallsTo(parts.peerId, `${incoming.digest} ${author}`, others, 1)
  }

  pump(now: number): void {
    if (this.#asking || now < this.#askAt) return
    this.#askAt = now + ASK_EVERY_MS
    this.#count(now)
    const importer = this.#importers().find((one) => this.#isDue(one, now))
    if (importer === undefined) return
    this.#asking = true
    void this.#inspect(importer).finally(() => {
      this.#asking = false
    })
  }

  async #inspect(importer: Neighbour): Promise<void> {
    const { ask, see } = this.#options
    const { id } = importer.peer
    this.#questions.set(id, (this.#questions.get(id) ?? 0) + 1)
    try {
      const [any] = this.#some(importer, (index) => !this.#options.incoming.taken(index))
      if (any !== undefined && this.#pieceOf(importer) === undefined) await ask(id, any)
      const index = this.#pieceOf(importer)
      if (index === undefined) return
      this.#done.add(id)
      await see(index)
    } catch {
      // it is asked again, or found out by the digest
    }
  }

  #count(now: number): void {
    const crowd = this.#importers().length + this.#options.waiting() + 1
    if (crowd <= this.#crowd) return
    this.#crowd = crowd
    this.#grewAt = now
  }

  #isDue({ peer, have }: Neighbour, now: number): boolean {
    const { incoming, parts } = this.#options
    const { id } = peer
    if (have === undefined || this.#done.has(id) || incoming.doubts.caught.has(id)) return false
    const asked = this.#questions.get(id) ?? 0
    if (asked >= MAX_QUESTIONS || !this.isMine(id)) return false
    if (this.#alarmed || asked > 0) return true
    const stranger = !parts.proven.has(id)
    if (now - this.#grewAt < (stranger ? STRANGERS_SETTLED_MS : SETTLED_MS)) return false
    const lot = this.#lots.get(id) ?? parts.random()
    this.#lots.set(id, lot)
    return lot < chanceOfLook(incoming.geometry.pieces, this.#crowd, stranger)
  }

  /** A piece that this peer is known to have imported: one that is still to come here, or else, if somebody lies, one that is held. */
  #pieceOf(importer: Neighbour): number | undefined {
    const { incoming } = this.#options
    const { id } = importer.peer
    const own = this.#some(importer, (index) =>
      incoming.book.words(index).some((word) => word.author === id && word.kind === 'import'),
    ).filter((index) => !incoming.imported.has(index))
    return own.find((index) => !incoming.taken(index)) ?? (this.#alarmed ? own[0] : undefined)
  }

  /** Pieces that the peer holds, in random order. */
  #some({ have }: Neighbour, fits: (index: number) => boolean): number[] {
    const { incoming, parts } = this.#options
    const pieces: number[] = []
    for (let index = 0; index < incoming.geometry.pieces; index++) if (have?.has(index) && fits(index)) pieces.push(index)
    return sample(pieces, pieces.length, parts.random)
  }

  #importers(): readonly Neighbour[] {
    return this.#options.neighbours().filter(({ state }) => state === 'partial')
  }
}
