/** Time as decisions see it, so that a test can be the one that passes it. */
export interface Clock {
  /** Monotonic, milliseconds. */
  now(): number
  /** Runs once after a delay; returns what cancels it. */
  after(delayMs: number, run: () => void): () => void
}

/** The machine's; its timers keep no process alive. */
export const SYSTEM_CLOCK: Clock = Object.freeze({
  now: () => performance.now(),
  after: (delayMs: number, run: () => void) => {
    const timer = setTimeout(run, delayMs)
    timer.unref()
    return () => clearTimeout(timer)
  },
})
