import type { Entry } from './entry.ts'
import type { PieceBuffer, StoredBlob } from './store.ts'

/** One caller's handle on a blob of the disk store. */
export class DiskBlob implements StoredBlob {
  readonly #entry: Entry
  readonly #onClose: (entry: Entry) => Promise<void>
  #open = true

  constructor(entry: Entry, onClose: (entry: Entry) => Promise<void>) {
    this.#entry = entry
    this.#onClose = onClose
    entry.users++
  }

  get digest() {
    return this.#entry.held.digest
  }

  get geometry() {
    return this.#entry.held.geometry
  }

  get meta() {
    return this.#entry.held.meta
  }

  get have() {
    return this.#entry.held.have
  }

  get verified() {
    return this.#entry.held.verified
  }

  get complete() {
    return this.#entry.held.complete
  }

  get storedAt() {
    return this.#entry.held.storedAt
  }

  async readVerified(index: number, options: { signal: AbortSignal }): Promise<PieceBuffer> {
    this.checkOpen()
    options.signal.throwIfAborted()
    return this.#entry.readVerified(index, options)
  }

  async readRaw(index: number, begin: number, length: number, options: { signal: AbortSignal }): Promise<PieceBuffer> {
    this.checkOpen()
    options.signal.throwIfAborted()
    return this.#entry.readRaw(index, begin, length, options)
  }

  async hashes(first: number, count: number): Promise<readonly (Uint8Array | undefined)[]> {
    return this.#entry.held.hashes(first, count)
  }

  async recheck(index: number): Promise<boolean> {
    this.checkOpen()
    return this.#entry.check(index)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#open) return
    this.#open = false
    this.#entry.users--
    await this.#onClose(this.#entry)
  }

  protected checkOpen(): void {
    if (!this.#open) throw new TypeError(`this handle on ${this.digest} was closed`)
  }
}
