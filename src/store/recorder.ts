import type { Catalog } from './catalog.ts'
import type { Entry } from './entry.ts'

/** After a failed write to the catalog. */
const RETRY_MS = 1000

/** Brings what changed into the catalog: soon, many changes at a time, and again until it worked. */
export class Recorder {
  readonly #catalog: Catalog
  readonly #delayMs: number
  readonly #onFailure: (error: unknown) => void
  #dirty = new Set<Entry>()
  #timer: NodeJS.Timeout | undefined
  #failure: unknown
  #closed = false

  constructor(catalog: Catalog, options: { delayMs: number; onFailure: (error: unknown) => void }) {
    this.#catalog = catalog
    this.#delayMs = options.delayMs
    this.#onFailure = options.onFailure
  }

  /** The entry has something to record. */
  mark(entry: Entry): void {
    this.#dirty.add(entry)
    this.#schedule(this.#delayMs)
  }

  isDirty(entry: Entry): boolean {
    return this.#dirty.has(entry)
  }

  /** Forgets what was to be recorded of it. */
  forget(entry: Entry): void {
    this.#dirty.delete(entry)
  }

  /** Records one entry now. @throws ShoalError STORE_FULL, STORE_FAILED; it is tried again later */
  async record(entry: Entry): Promise<void> {
    await this.#write([entry])
  }

  /** Records everything now, and waits for what is being recorded. @throws as record */
  async flush(): Promise<void> {
    await this.#write([...this.#dirty])
    if (this.#dirty.size > 0) await this.#write([...this.#dirty])
  }

  /** Why the last write failed, until one works. */
  get failure(): unknown {
    return this.#failure
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.flush()
  }

  async #write(entries: readonly Entry[]): Promise<void> {
    const taken = entries.map((entry) => entry.takeChanges())
    for (const entry of entries) this.#dirty.delete(entry)
    const ops = taken.flatMap((each) => each.ops)
    try {
      await this.#catalog.write(ops)
      this.#failure = undefined
    } catch (error) {
      for (const each of taken) each.undo()
      for (const entry of entries) if (!entry.detached) this.#dirty.add(entry)
      this.#schedule(RETRY_MS)
      this.#failure = error
      this.#onFailure(error)
      throw error
    }
  }

  #schedule(delayMs: number): void {
    if (this.#timer !== undefined || this.#closed) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.flush().catch(() => {})
    }, delayMs).unref()
  }
}
