import type { Digest } from '../../protocols/digest.ts'
import type { DiskParts, Entry } from './entry.ts'
import { isFull } from './failures.ts'
import { loadEntry } from './load-entry.ts'
import { Turns } from './turns.ts'

/** The entries in memory: one per blob, made when first asked for, kept a while after their last handle was closed. */
export class Shelf {
  readonly #root: string
  readonly #parts: DiskParts
  readonly #maxIdle: number
  readonly #entries = new Map<string, Entry>()
  /** Entries without a handle, least recently used first. */
  readonly #idle = new Map<string, Entry>()
  readonly #turns = new Turns()

  constructor(root: string, parts: DiskParts, options: { maxIdle: number }) {
    this.#root = root
    this.#parts = parts
    this.#maxIdle = options.maxIdle
  }

  /** Runs what changes whether there is an entry for this digest, one at a time. */
  inTurn<T>(digest: Digest, work: () => Promise<T>): Promise<T> {
    return this.#turns.take(digest.toString(), work)
  }

  /** The entry if it is in memory. */
  peek(digest: Digest): Entry | undefined {
    return this.#entries.get(digest.toString())
  }

  /** The entry, from the catalog if need be: stays in memory until `released`. To be called in its turn. */
  async find(digest: Digest): Promise<Entry | undefined> {
    const entry = this.peek(digest) ?? (await loadEntry(this.#root, digest, this.#parts))
    if (entry !== undefined) this.add(entry)
    return entry
  }

  /** Stays in memory until `released`. */
  add(entry: Entry): void {
    const key = entry.held.digest.toString()
    this.#entries.set(key, entry)
    this.#idle.delete(key)
  }

  /** Nothing is done with it any more, or a handle was closed: it stays for a while, or goes when there is nothing in it. Not in its turn. */
  async released(entry: Entry): Promise<void> {
    if (entry.users > 0) return
    if (entry.detached) return entry.file.close()
    if (entry.isHeld) return this.#setIdle(entry)
    await this.inTurn(entry.held.digest, async () => {
      if (entry.users === 0 && !entry.detached && !entry.isHeld) await this.remove(entry)
    })
  }

  /** The entry is no longer in the store: what its handles still need is kept for them, its keys go at once. To be called in its turn. */
  async detach(entry: Entry): Promise<void> {
    if (entry.users > 0) await this.#keepReadable(entry)
    const key = entry.held.digest.toString()
    this.#entries.delete(key)
    this.#idle.delete(key)
    entry.detach()
    if (entry.users === 0) entry.file.close()
  }

  /** Undoes `detach`. */
  attach(entry: Entry): void {
    entry.attach()
    this.#entries.set(entry.held.digest.toString(), entry)
    if (entry.users === 0) this.#setIdle(entry)
  }

  /** Detaches, and removes its keys and then its file. To be called in its turn. */
  async remove(entry: Entry): Promise<void> {
    await this.detach(entry)
    try {
      await this.#recordRemoval(entry)
      await this.#removeFile(entry)
    } catch (error) {
      this.attach(entry)
      throw error
    }
    this.#parts.syncer.touch()
  }

  close(): void {
    for (const entry of this.#entries.values()) entry.file.close()
  }

  async #recordRemoval(entry: Entry): Promise<void> {
    const ops = entry.removalOps()
    try {
      await this.#parts.catalog.write(ops)
    } catch (error) {
      // A full disk is no reason to keep what was to go: with the file gone there is room again for saying so.
      if (!isFull(error)) throw error
      await this.#removeFile(entry)
      await this.#parts.catalog.write(ops)
    }
  }

  async #removeFile(entry: Entry): Promise<void> {
    if (!entry.inline) await entry.file.remove()
  }

  /** Open handles read from memory, or from a file that has no name any more. */
  async #keepReadable(entry: Entry): Promise<void> {
    try {
      if (!entry.isHeld) return
      if (!entry.inline) await entry.file.use(async () => {})
      else if (entry.held.have.count > 0) await entry.content()
    } catch (error) {
      this.#parts.log.debug({ err: error, digest: entry.held.digest }, 'a blob could not be kept for its open handles')
    }
  }

  #setIdle(entry: Entry): void {
    const key = entry.held.digest.toString()
    this.#idle.delete(key)
    this.#idle.set(key, entry)
    for (const [oldKey, old] of this.#idle) {
      if (this.#idle.size <= this.#maxIdle) return
      this.#idle.delete(oldKey)
      // What is not recorded yet is known here only: it leaves with the next one.
      if (this.#parts.recorder.isDirty(old)) {
        this.#idle.set(oldKey, old)
        return
      }
      this.#entries.delete(oldKey)
      old.file.close()
    }
  }
}
