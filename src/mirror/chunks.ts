import type { OpenBlob, VerifiedChunk } from '../download/download.ts'

/** The verified chunks of a part of a blob, the next one being read while the last is being sent. */
export class Chunks implements AsyncDisposable {
  readonly #iterator: AsyncIterator<VerifiedChunk>
  readonly #stop = new AbortController()
  #ahead: Promise<IteratorResult<VerifiedChunk>> | undefined

  constructor(blob: OpenBlob, { start, end }: { start: number; end: number }, signal: AbortSignal) {
    const any = AbortSignal.any([signal, this.#stop.signal])
    this.#iterator = blob.read({ start, end, signal: any })[Symbol.asyncIterator]()
    this.readAhead()
  }

  readAhead(): void {
    this.#ahead ??= this.#iterator.next()
    this.#ahead.catch(() => {})
  }

  /** Whether the first chunk is there, within `waitMs`. @throws what reading it throws */
  async ready(waitMs: number): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<false>()
    const timer = setTimeout(resolve, waitMs, false)
    try {
      return await Promise.race([this.#ahead?.then(() => true as const) ?? true, promise])
    } finally {
      clearTimeout(timer)
    }
  }

  async next(): Promise<VerifiedChunk | undefined> {
    const ahead = this.#ahead ?? this.#iterator.next()
    this.#ahead = undefined
    const { value, done } = await ahead
    return done === true ? undefined : value
  }

  /** Stops reading; a chunk that was read and not taken is given back. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort()
    const ahead = await this.#ahead?.catch(() => undefined)
    if (ahead !== undefined && ahead.done !== true) ahead.value.release()
    await this.#iterator.return?.()
  }
}
