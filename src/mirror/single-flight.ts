/** Many who ask the same at once share one answer. */
export class SingleFlight<V> {
  readonly #flights = new Map<string, Promise<V>>()

  get size(): number {
    return this.#flights.size
  }

  /** Runs `fly` unless it is under way for this key. One caller that leaves (its signal) does not end it for the others. */
  async run(key: string, fly: () => Promise<V>, options: { signal: AbortSignal }): Promise<V> {
    options.signal.throwIfAborted()
    let flight = this.#flights.get(key)
    if (flight === undefined) {
      flight = fly().finally(() => this.#flights.delete(key))
      flight.catch(() => {})
      this.#flights.set(key, flight)
    }
    return await abortable(flight, options.signal)
  }
}

/** The promise, or the signal's reason if that comes first. */
export async function abortable<V>(promise: Promise<V>, signal: AbortSignal): Promise<V> {
  signal.throwIfAborted()
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([promise, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
