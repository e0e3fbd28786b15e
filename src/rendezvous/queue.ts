/** Who is called is waited for so long before the next is: on a busy link a message stands behind pieces. */
const ANSWER_MS = 1_000

interface Waiting {
  /** It was told that there is something for it, which is kept until then. */
  calledUntil: number | undefined
}

/** Less comes first; equals in the order in which they came. */
export type Order = (a: string, b: string) => number

/** Members who wait for a lease: what becomes free is kept for those whose turn it is, for a moment. */
export class Queue {
  readonly #waiting = new Map<string, Waiting>()

  get size(): number {
    return this.#waiting.size
  }

  has(id: string): boolean {
    return this.#waiting.has(id)
  }

  /** Keeps its place if it has one. */
  enter(id: string): void {
    const place = this.#waiting.get(id)
    if (place === undefined) this.#waiting.set(id, { calledUntil: undefined })
    else place.calledUntil = undefined
  }

  leave(id: string): void {
    this.#waiting.delete(id)
  }

  /** How many others something is kept for. */
  keptFrom(id: string, now: number): number {
    let kept = 0
    for (const [other, { calledUntil }] of this.#waiting)
      if (other !== id && calledUntil !== undefined && calledUntil > now) kept++
    return kept
  }

  /** Puts out those who were called and did not come. @returns who they are */
  expire(now: number): string[] {
    const gone: string[] = []
    for (const [id, { calledUntil }] of this.#waiting) if (calledUntil !== undefined && calledUntil <= now) gone.push(id)
    for (const id of gone) this.#waiting.delete(id)
    return gone
  }

  /** When `expire` next has something to do. */
  nextExpiry(): number | undefined {
    let next: number | undefined
    for (const { calledUntil } of this.#waiting.values())
      if (calledUntil !== undefined) next = Math.min(next ?? calledUntil, calledUntil)
    return next
  }

  /** Calls those whose turn it is, so many less those who have been called and may still come. @returns those called now */
  call(count: number, may: (id: string) => boolean, order: Order, now: number): string[] {
    const called: string[] = []
    for (let left = count - this.keptFrom('', now); left > 0; left--) {
      let first: string | undefined
      for (const [id, { calledUntil }] of this.#waiting)
        if (calledUntil === undefined && may(id) && (first === undefined || order(id, first) < 0)) first = id
      if (first === undefined) return called
      ;(this.#waiting.get(first) as Waiting).calledUntil = now + ANSWER_MS
      called.push(first)
    }
    return called
  }
}
