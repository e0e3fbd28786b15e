import type { Digest } from '../../protocols/digest.ts'

export interface NewsBookLimits {
  readonly maxQueued: number
  /** How much of what was told before is told again to newcomers. */
  readonly maxRecent: number
}

const LIMITS: NewsBookLimits = Object.freeze({ maxQueued: 16_384, maxRecent: 1_024 })

export interface Batch {
  readonly added: readonly Digest[]
  readonly removed: readonly Digest[]
}

/** What this node has yet to tell its zone, and what it told last. The latest word on a blob is the one that is sent. */
export class NewsBook {
  readonly #limits: NewsBookLimits
  readonly #queue = new Map<string, { readonly digest: Digest; readonly held: boolean }>()
  readonly #recent = new Map<string, Digest>()

  constructor(limits: Partial<NewsBookLimits> = {}) {
    this.#limits = { ...LIMITS, ...limits }
  }

  get queued(): number {
    return this.#queue.size
  }

  /** Half full: whoever tells everything it holds should wait here. */
  get busy(): boolean {
    return this.#queue.size * 2 >= this.#limits.maxQueued
  }

  hold(digest: Digest): void {
    this.#remember(digest)
    this.#put(digest, true)
  }

  drop(digest: Digest): void {
    this.#recent.delete(String(digest))
    this.#put(digest, false)
  }

  /** Queues again what was told last, the newest first in line to be kept, except what `skip` says nobody needs to hear. */
  recite(limit: number, skip: (digest: string) => boolean): void {
    for (const [key, digest] of [...this.#recent].slice(-limit)) {
      if (!this.#queue.has(key) && !skip(key)) this.#put(digest, true)
    }
  }

  /** The oldest `limit` of the queue; `undefined` when there is nothing to say. */
  take(limit: number): Batch | undefined {
    if (this.#queue.size === 0) return undefined
    const added: Digest[] = []
    const removed: Digest[] = []
    for (const [key, { digest, held }] of this.#queue) {
      if (added.length + removed.length === limit) break
      this.#queue.delete(key)
      if (held) added.push(digest)
      else removed.push(digest)
    }
    return { added, removed }
  }

  #put(digest: Digest, held: boolean): void {
    const key = String(digest)
    this.#queue.delete(key)
    this.#queue.set(key, { digest, held })
    if (this.#queue.size > this.#limits.maxQueued) this.#queue.delete(this.#queue.keys().next().value as string)
  }

  #remember(digest: Digest): void {
    const key = String(digest)
    this.#recent.delete(key)
    this.#recent.set(key, digest)
    if (this.#recent.size > this.#limits.maxRecent) this.#recent.delete(this.#recent.keys().next().value as string)
  }
}
