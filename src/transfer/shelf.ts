import type { Digest } from '../../protocols/digest.ts'
import { geometryOf, MIN_PIECE_BYTES, pieceLength } from '../../protocols/pieces.ts'
import type { Holding, Library } from './transfer.ts'

/** A blob stays at hand for so long after its last use, and so many at most: one question or piece is seldom the last. */
const KEEP_MS = 2_000
const KEEP_BLOBS = 256

interface Entry {
  readonly opening: Promise<Holding | undefined>
  /** Once it is open. */
  holding: Holding | undefined
  users: number
  /** Not to be lent any more: closed when the last user has given it back. */
  stale: boolean
  idleSince: number
}

/** A holding in use; give it back. */
export interface Loan {
  readonly holding: Holding
  giveBack(): void
}

/** The library's holdings that are in use or were a moment ago, each opened once. What is not held is not remembered. */
export class Shelf {
  readonly #library: Library
  readonly #now: () => number
  readonly #entries = new Map<string, Entry>()
  #sweeper: NodeJS.Timeout | undefined

  constructor(library: Library, now: () => number) {
    this.#library = library
    this.#now = now
  }

  async borrow(digest: Digest): Promise<Loan | undefined> {
    const key = digest.toString()
    const entry = this.#entries.get(key) ?? this.#open(key, digest)
    entry.users++
    let holding: Holding | undefined
    try {
      holding = await entry.opening
      entry.holding = holding
    } catch (error) {
      this.#remove(key, entry)
      throw error
    }
    if (holding === undefined) {
      this.#remove(key, entry)
      return undefined
    }
    let given = false
    const giveBack = () => {
      if (given) return
      given = true
      this.#returned(key, entry)
    }
    return { holding, giveBack }
  }

  /** How many bytes will answer a request for a piece, by what is known without looking; nothing is, of a blob that is not at hand. */
  answerBytes({ digest, index, maxBytes }: { digest: Digest; index: number; maxBytes: number }): number {
    const size = this.#entries.get(digest.toString())?.holding?.size
    const geometry = size === undefined ? undefined : geometryOf(size)
    if (geometry === undefined) return Math.min(maxBytes, MIN_PIECE_BYTES)
    return index < geometry.pieces ? Math.min(maxBytes, pieceLength(geometry, index)) : 0
  }

  /** What is held of it has changed from the ground up: the next borrower gets it anew. */
  forget(digest: Digest): void {
    const key = digest.toString()
    const entry = this.#entries.get(key)
    if (entry === undefined) return
    this.#remove(key, entry)
    if (entry.users === 0) this.#close(entry)
  }

  async close(): Promise<void> {
    clearTimeout(this.#sweeper)
    const entries = [...this.#entries.values()]
    this.#entries.clear()
    for (const entry of entries) entry.stale = true
    await Promise.all(entries.filter((e) => e.users === 0).map((e) => this.#close(e)))
  }

  #open(key: string, digest: Digest): Entry {
    const entry: Entry = { opening: this.#library.find(digest), holding: undefined, users: 0, stale: false, idleSince: 0 }
    this.#entries.set(key, entry)
    return entry
  }

  #remove(key: string, entry: Entry): void {
    entry.stale = true
    if (this.#entries.get(key) === entry) this.#entries.delete(key)
  }

  #returned(key: string, entry: Entry): void {
    if (--entry.users > 0) return
    if (entry.stale) {
      this.#close(entry)
      return
    }
    entry.idleSince = this.#now()
    // last in the map: what was idle longest comes first
    this.#entries.delete(key)
    this.#entries.set(key, entry)
    this.#sweep()
  }

  /** Closes what was idle for long, and the longest idle beyond the bound. */
  #sweep(): void {
    const oldest = this.#now() - KEEP_MS
    for (const [key, entry] of this.#entries) {
      if (entry.users > 0) continue
      if (entry.idleSince > oldest && this.#entries.size <= KEEP_BLOBS) break
      this.#remove(key, entry)
      this.#close(entry)
    }
    if (this.#entries.size === 0 || this.#sweeper !== undefined) return
    const again = () => {
      this.#sweeper = undefined
      this.#sweep()
    }
    this.#sweeper = setTimeout(again, KEEP_MS).unref()
  }

  async #close(entry: Entry): Promise<void> {
    const holding = await entry.opening.catch(() => undefined)
    await holding?.close().catch(() => {})
  }
}
