import { sample } from '../sample.ts'
import type { Neighbour } from '../transfer/transfer.ts'
import { chanceOfLook, fallsTo } from './contests.ts'
import type { ScrutinyOptions } from './scrutiny.ts'

/** Questions to one importer until it is known what it imported, and how seldom. */
const MAX_QUESTIONS = 8
const ASK_EVERY_MS = 200

export interface InspectionOptions extends Pick<ScrutinyOptions, 'incoming' | 'parts' | 'neighbours' | 'ask'> {
  /** Imports a piece, whoever holds it. */
  readonly see: (index: number) => Promise<void>
}

/**
 * Looks after importers before there is a reason to: each falls to one node of the crowd, which imports a piece of its as well, or is
 * spared by chance. Which piece nobody can tell beforehand. Once somebody has been found to lie, none is spared.
 */
export class Inspection {
  readonly #options: InspectionOptions
  /** Importers of whom a piece has been looked at, and those whom chance has spared. */
  readonly #done = new Set<string>()
  readonly #spared = new Set<string>()
  readonly #questions = new Map<string, number>()
  #alarmed = false
  #asking = false
  #askAt = 0

  constructor(options: InspectionOptions) {
    this.#options = options
  }

  alarm(): void {
    this.#alarmed = true
  }

  /** Whether looking after an importer falls to this node. */
  isMine(author: string): boolean {
    const { incoming, parts } = this.#options
    const others = this.#importers().flatMap(({ peer }) => (peer.id === author ? [] : peer.id))
    return fallsTo(parts.peerId, `${incoming.digest} ${author}`, others, 1)
  }

  pump(now: number): void {
    if (this.#asking || now < this.#askAt) return
    this.#askAt = now + ASK_EVERY_MS
    const importer = this.#importers().find((one) => this.#isDue(one))
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

  #isDue({ peer, have }: Neighbour): boolean {
    const { incoming, parts } = this.#options
    const { id } = peer
    if (have === undefined || this.#done.has(id) || incoming.doubts.caught.has(id)) return false
    if (!this.#alarmed && this.#spared.has(id)) return false
    const asked = this.#questions.get(id) ?? 0
    if (asked >= MAX_QUESTIONS || !this.isMine(id)) return false
    if (this.#alarmed || asked > 0) return true
    if (parts.random() < chanceOfLook(incoming.geometry.pieces, this.#importers().length + 1)) return true
    this.#spared.add(id)
    return false
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
