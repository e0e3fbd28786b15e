import { dirname } from 'node:path'
import { syncPath } from './blob-file.ts'

/** Brings what was written to where power loss does not reach: in the background, a few seconds after it was written. */
export class Syncer {
  readonly #delayMs: number
  readonly #syncCatalog: () => Promise<void>
  readonly #onFailure: (error: unknown) => void
  #files = new Set<string>()
  #dirty = false
  #timer: NodeJS.Timeout | undefined
  #round: Promise<void> | undefined
  #closed = false

  constructor(options: { delayMs: number; syncCatalog: () => Promise<void>; onFailure: (error: unknown) => void }) {
    this.#delayMs = options.delayMs
    this.#syncCatalog = options.syncCatalog
    this.#onFailure = options.onFailure
  }

  /** Something was, or is about to be, recorded; `path`: a file that was written to. */
  touch(path?: string): void {
    if (path !== undefined) this.#files.add(path)
    this.#dirty = true
    if (this.#timer !== undefined || this.#closed) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.sync().catch(this.#onFailure)
    }, this.#delayMs).unref()
  }

  /** Syncs what was touched so far: bytes, then names, then records. @throws what the system said; it is tried again with the next touch */
  async sync(): Promise<void> {
    await this.#round?.catch(() => {})
    this.#round = this.#sync()
    await this.#round
  }

  /** @returns whether all of it was synced in time */
  async close(budgetMs: number): Promise<boolean> {
    this.#closed = true
    clearTimeout(this.#timer)
    const { promise: late, resolve } = Promise.withResolvers<boolean>()
    const timer = setTimeout(() => resolve(false), budgetMs)
    try {
      return await Promise.race([this.sync().then(() => true), late])
    } catch (error) {
      this.#onFailure(error)
      return false
    } finally {
      clearTimeout(timer)
    }
  }

  async #sync(): Promise<void> {
    if (!this.#dirty) return
    const files = this.#files
    this.#files = new Set()
    this.#dirty = false
    try {
      for (const path of files) await syncPath(path)
      const directories = [...files].map(dirname)
      for (const path of new Set([...directories, ...directories.map(dirname)])) await syncPath(path)
      await this.#syncCatalog()
    } catch (error) {
      for (const path of files) this.#files.add(path)
      this.#dirty = true
      throw error
    }
  }
}
