import type { OriginBody } from '../origin/origin.ts'

/** A body being read chunk by chunk, over as many grants as it serves. */
export class BodyCursor {
  readonly body: OriginBody
  readonly #chunks: AsyncIterator<Uint8Array>
  #chunk: Uint8Array | undefined
  #at: number

  constructor(body: OriginBody) {
    this.body = body
    this.#chunks = body.body[Symbol.asyncIterator]()
    this.#at = body.start
  }

  /** Where in the blob the present chunk begins. */
  get at(): number {
    return this.#at
  }

  /** The present chunk, or the next one; `undefined` at the end. */
  async chunk(): Promise<Uint8Array | undefined> {
    if (this.#chunk === undefined) this.#chunk = (await this.#chunks.next()).value as Uint8Array | undefined
    return this.#chunk
  }

  /** The present chunk is used up. */
  advance(): void {
    this.#at += this.#chunk?.length ?? 0
    this.#chunk = undefined
  }

  close(): void {
    this.body.cancel()
    void this.#chunks.return?.().catch(() => {})
  }
}
