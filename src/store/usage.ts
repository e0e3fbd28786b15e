import type { BlobRecord } from './records.ts'

interface Counted {
  readonly isHeld: boolean
  readonly detached: boolean
  readonly held: { readonly heldBytes: number }
}

/** How much is held: counted once in the background after the start, and kept up from then on, so that it can never drift. */
export class Usage {
  readonly #known = new WeakMap<Counted, { blobs: number; bytes: number }>()
  readonly #counting: Promise<void>
  #blobs = 0
  #bytes = 0

  /** @param records as they are before anything changes */
  constructor(records: AsyncIterable<{ record: BlobRecord }>) {
    this.#counting = this.#count(records)
    this.#counting.catch(() => {})
  }

  /** What has been counted for this entry already: its record. */
  expect(entry: Counted, record: BlobRecord): void {
    this.#known.set(entry, { blobs: 1, bytes: record.heldBytes })
  }

  update(entry: Counted): void {
    const before = this.#known.get(entry) ?? { blobs: 0, bytes: 0 }
    const counts = entry.isHeld && !entry.detached
    const now = { blobs: counts ? 1 : 0, bytes: counts ? entry.held.heldBytes : 0 }
    this.#blobs += now.blobs - before.blobs
    this.#bytes += now.bytes - before.bytes
    this.#known.set(entry, now)
  }

  async read(): Promise<{ readonly blobs: number; readonly bytes: number }> {
    await this.#counting
    return { blobs: this.#blobs, bytes: this.#bytes }
  }

  async #count(records: AsyncIterable<{ record: BlobRecord }>): Promise<void> {
    for await (const { record } of records) {
      this.#blobs++
      this.#bytes += record.heldBytes
    }
  }
}
