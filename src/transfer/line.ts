import { ShoalError } from '../errors.ts'

/** What runs on one channel that we opened. */
export interface Session {
  /** Work that waits for the peer. */
  readonly open: number
  /** When the peer was last heard, or first asked after a pause. */
  readonly heardAt: number
  /** Settles when the channel is over: with why, or `undefined` when that harmed nobody. */
  readonly over: Promise<unknown>
  abort(reason: Error): void
  close(): Promise<void>
}

export interface LineOptions<S extends Session> {
  readonly open: (signal: AbortSignal) => Promise<S>
  readonly openMs: number
  /** It could not be opened, or was lost. */
  readonly onDown: (reason: unknown) => void
}

/** One stream to a peer: opened when first needed, once however many need it, and again when it was lost or closed. */
export class Line<S extends Session> {
  readonly #options: LineOptions<S>
  #session: S | undefined
  #opening: { readonly session: Promise<S>; readonly abort: AbortController } | undefined

  constructor(options: LineOptions<S>) {
    this.#options = options
  }

  /** The session, if there is one now. */
  get session(): S | undefined {
    return this.#session
  }

  get unused(): boolean {
    return this.#session === undefined && this.#opening === undefined
  }

  /** @throws ShoalError PEER_UNREACHABLE, PEER_REFUSED, PEER_TIMEOUT, PEER_GONE; `onDown` is told as well, once */
  async get(): Promise<S> {
    if (this.#session !== undefined) return this.#session
    this.#opening ??= this.#open()
    return await this.#opening.session
  }

  abort(reason: Error): void {
    const session = this.#session
    this.#session = undefined
    this.#opening?.abort.abort(reason)
    this.#opening = undefined
    session?.abort(reason)
  }

  async close(): Promise<void> {
    const session = this.#session
    this.#session = undefined
    await session?.close().catch(() => {})
  }

  #open(): { session: Promise<S>; abort: AbortController } {
    const abort = new AbortController()
    const timer = setTimeout(
      () => abort.abort(new ShoalError('PEER_TIMEOUT', 'opening a stream took too long')),
      this.#options.openMs,
    )
    const opening = { session: this.#establish(abort.signal).finally(() => clearTimeout(timer)), abort }
    timer.unref()
    opening.session.then(
      (session) => this.#opened(opening, session),
      (error) => {
        if (this.#opening !== opening) return
        this.#opening = undefined
        this.#options.onDown(error)
      },
    )
    return opening
  }

  async #establish(signal: AbortSignal): Promise<S> {
    try {
      const session = await this.#options.open(signal)
      if (!signal.aborted) return session
      session.abort(signal.reason)
    } catch (error) {
      if (!signal.aborted) throw error
    }
    throw signal.reason
  }

  #opened(opening: object, session: S): void {
    if (this.#opening !== opening) {
      session.abort(new ShoalError('PEER_GONE', 'not needed any more'))
      return
    }
    this.#opening = undefined
    this.#session = session
    session.over.then((reason) => {
      if (this.#session !== session) return
      this.#session = undefined
      if (reason !== undefined) this.#options.onDown(reason)
    })
  }
}
