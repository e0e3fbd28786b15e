import { setImmediate as turn } from 'node:timers/promises'
import type { Clock } from '../../src/clock.ts'

interface Timer {
  readonly at: number
  readonly run: () => void
}

/** A clock that a test turns. */
export class VirtualClock implements Clock {
  #now = 1_000_000
  readonly #timers = new Set<Timer>()

  now(): number {
    return this.#now
  }

  /** Timers that wait. */
  get pending(): number {
    return this.#timers.size
  }

  after(delayMs: number, run: () => void): () => void {
    const timer = { at: this.#now + Math.max(0, delayMs), run }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  /** Lets time pass, timer by timer, and what each sets off run to its end. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    await turn()
    for (let next = this.#first(end); next !== undefined; next = this.#first(end)) {
      this.#now = Math.max(this.#now, next.at)
      this.#timers.delete(next)
      next.run()
      await turn()
    }
    this.#now = end
  }

  /** Lets time pass until the condition holds. @throws when it does not within `ms` */
  async until(what: string, condition: () => boolean, ms = 60_000): Promise<void> {
    const end = this.#now + ms
    await turn()
    while (!condition()) {
      if (this.#now >= end) throw new Error(`not in ${ms} ms of virtual time: ${what}`)
      await this.advance(Math.min(50, end - this.#now))
    }
  }

  #first(end: number): Timer | undefined {
    let first: Timer | undefined
    for (const timer of this.#timers) if (timer.at <= end && (first === undefined || timer.at < first.at)) first = timer
    return first
  }
}

/** Numbers that look random and are the same each time (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
