import { setImmediate as turn } from 'node:timers/promises'

interface Timer {
  at: number
  readonly everyMs: number | undefined
  readonly run: () => void
}

/** Virtual milliseconds that pass at once at most. */
const STEP_MS = 10
/** Turns of the event loop that each step gets: what needs no time runs to its end in them. */
const TURNS = 12

/**
 * Takes the place of the process's timers and of its clocks, for parts that use those directly. What needs no time (streams in memory,
 * promises) goes on in real turns of the event loop; `busy` holds time still for what threads do. Dispose it to have real time again.
 */
export class VirtualTime implements Disposable {
  readonly #timers = new Set<Timer>()
  readonly #real = { setTimeout, clearTimeout, setInterval, clearInterval, now: performance.now, date: Date.now }
  #now = 1_000_000
  /** Whether something is under way that takes real time. */
  busy: () => boolean = () => false

  constructor() {
    const start = (run: (...args: unknown[]) => void, delayMs: number, args: unknown[], repeat: boolean) => {
      const wait = Number.isFinite(delayMs) ? Math.max(1, delayMs) : 1
      return this.#handle({ at: this.#now + wait, everyMs: repeat ? wait : undefined, run: () => run(...args) })
    }
    const stop = (handle: unknown) => (handle as { cancel?: () => void } | undefined)?.cancel?.()
    Object.assign(globalThis, {
      setTimeout: (run: () => void, ms = 1, ...args: unknown[]) => start(run, ms, args, false),
      setInterval: (run: () => void, ms = 1, ...args: unknown[]) => start(run, ms, args, true),
      clearTimeout: stop,
      clearInterval: stop,
    })
    performance.now = () => this.#now
    Date.now = () => this.#now
  }

  /** Timers that wait. */
  get pending(): number {
    return this.#timers.size
  }

  get now(): number {
    return this.#now
  }

  /** Lets time pass, a little at a time, until it is so. @returns whether it came to be so */
  async until(condition: () => boolean, ms: number): Promise<boolean> {
    const end = this.#now + ms
    for (;;) {
      await this.#settle()
      if (condition()) return true
      if (this.#now >= end) return false
      this.#step(Math.min(end, this.#now + STEP_MS))
    }
  }

  /** Lets time pass from timer to timer: for when nothing much happens. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms
    while (this.#now < end) {
      await this.#settle()
      const next = Math.min(...[...this.#timers].map(({ at }) => at))
      this.#step(Math.min(end, Math.max(this.#now + STEP_MS, next)))
    }
    await this.#settle()
  }

  [Symbol.dispose](): void {
    const { now, date, ...timers } = this.#real
    Object.assign(globalThis, timers)
    performance.now = now
    Date.now = date
  }

  async #settle(): Promise<void> {
    for (let i = 0; i < TURNS || this.busy(); i++) await turn()
  }

  #step(to: number): void {
    const due = [...this.#timers].filter((timer) => timer.at <= to).sort((a, b) => a.at - b.at)
    for (const timer of due) {
      if (!this.#timers.has(timer)) continue
      this.#now = Math.max(this.#now, timer.at)
      if (timer.everyMs === undefined) this.#timers.delete(timer)
      else timer.at += timer.everyMs
      timer.run()
    }
    this.#now = to
  }

  /** What callers do with a timer of Node's. */
  #handle(timer: Timer): object {
    this.#timers.add(timer)
    const handle = {
      cancel: () => this.#timers.delete(timer),
      unref: () => handle,
      ref: () => handle,
      hasRef: () => true,
      [Symbol.dispose]: () => this.#timers.delete(timer),
    }
    return handle
  }
}
