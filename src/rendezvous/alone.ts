import { geometryOf, MAX_PIECES } from '../../protocols/pieces.ts'
import { Listeners } from './listeners.ts'
import { firstRun } from './ranges.ts'
import type { Grant, Membership, Rendezvous } from './rendezvous.ts'

/** The rendezvous of a node without a zone: it imports by itself whatever nobody has, one contiguous run at a time. */
export const ALONE: Rendezvous = Object.freeze({
  join: (_digest: unknown, size?: number): Membership => new Solitude(size),
  async [Symbol.asyncDispose]() {},
})

class Solitude implements Membership {
  readonly introduced = Promise.resolve()
  readonly #live = new Set<OwnGrant>()
  readonly #listeners = new Listeners()
  size: number | undefined

  constructor(size: number | undefined) {
    this.size = size
  }

  onMember(): () => void {
    return () => {}
  }

  onChange(listener: () => void): () => void {
    return this.#listeners.add(listener)
  }

  async ask(
    orphans: readonly number[],
    size: number | undefined,
    { signal }: { signal: AbortSignal },
  ): Promise<Grant | undefined> {
    signal.throwIfAborted()
    if (size === undefined) return this.#live.size > 0 ? undefined : this.#grant(0, MAX_PIECES - 1, undefined)
    this.size = size
    const taken = [...this.#live]
    const free = orphans.filter((index) => !taken.some(({ first, last }) => index >= first && index <= last))
    const run = firstRun(free, MAX_PIECES)
    return run && this.#grant(run.first, run.last, size)
  }

  #grant(first: number, last: number, size: number | undefined): Grant {
    const grant = new OwnGrant(first, last, size, () => {
      this.#live.delete(grant)
      this.#listeners.tell()
    })
    this.#live.add(grant)
    return grant
  }

  complete(): void {}

  async [Symbol.asyncDispose](): Promise<void> {}
}

/** A grant that nobody else knows of. */
export class OwnGrant implements Grant {
  readonly first: number
  readonly open: boolean
  readonly openBytes = undefined
  last: number
  size: number | undefined

  readonly #onEnd: () => void

  constructor(first: number, last: number, size: number | undefined, onEnd: () => void) {
    this.first = first
    this.last = last
    this.size = size
    this.open = size === undefined
    this.#onEnd = onEnd
  }

  streams(): void {}

  sized(size: number): void {
    if (this.size !== undefined) return
    this.size = size
    this.last = Math.min(this.last, geometryOf(size).pieces - 1)
  }

  alive(): void {}

  progress(_index: number, size: number): void {
    this.sized(size)
  }

  end(): void {
    this.#onEnd()
  }
}
