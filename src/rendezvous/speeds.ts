import { isSlow } from './policy.ts'

/** Of so many importers, the last to bring a piece, it is known how long one takes them. */
const KNOWN = 32
/** A new figure counts for so much of a member's own. */
const NEW_SHARE = 0.5

/** How long importers take for a piece, and who of them is slow. */
export class Speeds {
  /** By member, in the order of the last piece. */
  readonly #pieceMs = new Map<string, number>()
  #usualMs: number | undefined

  /** What most take; `undefined` while too little is known. */
  get usualMs(): number | undefined {
    return this.#usualMs
  }

  of(member: string): number | undefined {
    return this.#pieceMs.get(member)
  }

  /** A piece took a member so long. */
  note(member: string, ms: number): void {
    const before = this.#pieceMs.get(member)
    this.#pieceMs.delete(member)
    this.#pieceMs.set(member, before === undefined ? ms : before + NEW_SHARE * (ms - before))
    if (this.#pieceMs.size > KNOWN) this.#pieceMs.delete(this.#pieceMs.keys().next().value as string)
    this.#usualMs = medianOf([...this.#pieceMs.values()])
  }

  forget(member: string): void {
    this.#pieceMs.delete(member)
  }

  /** Whether a member takes long compared with others. */
  slow(member: string): boolean {
    return isSlow(this.#pieceMs.get(member), this.#usualMs)
  }
}

/** The lower of the two in the middle: of two importers one may be the slow one. */
function medianOf(values: number[]): number | undefined {
  return values.length < 2 ? undefined : values.sort((a, b) => a - b)[(values.length - 1) >> 1]
}
