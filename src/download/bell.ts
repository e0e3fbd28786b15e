/** Wakes whoever waits for "something changed". Rings are coalesced to one microtask. */
export class Bell {
  #waiting = Promise.withResolvers<void>()
  #ringing = false

  ring(): void {
    if (this.#ringing) return
    this.#ringing = true
    queueMicrotask(() => {
      this.#ringing = false
      const waiting = this.#waiting
      this.#waiting = Promise.withResolvers<void>()
      waiting.resolve()
    })
  }

  /** Resolves at the next ring. @throws the signal's reason */
  async wait(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    const waiting = this.#waiting.promise
    const aborted = Promise.withResolvers<never>()
    const abort = () => aborted.reject(signal.reason)
    signal.addEventListener('abort', abort, { once: true })
    try {
      await Promise.race([waiting, aborted.promise])
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }
}
