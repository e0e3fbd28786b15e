import { mkdir, rename } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Digest } from '../../protocols/digest.ts'
import { ShoalError } from '../../protocols/error.ts'
import { geometryOf } from '../../protocols/pieces.ts'
import { DiskBlob } from './disk-blob.ts'
import { DiskWriter } from './disk-writer.ts'
import type { DiskParts, Entry } from './entry.ts'
import { isFull, storeFailure } from './failures.ts'
import { type Ingested, ingest } from './ingest.ts'
import { newEntry } from './load-entry.ts'
import { sizeDiffers } from './refusals.ts'
import { Shelf } from './shelf.ts'
import type { Space } from './space.ts'
import type { BlobInfo, BlobMeta, BlobWriter, Store, StoredBlob, TagRecords } from './store.ts'
import { emptySpool, sweep } from './sweep.ts'
import { CatalogTags } from './tags.ts'

export interface DiskStoreSettings {
  readonly maxTags: number
  readonly closeSyncMs: number
  /** Blobs kept open after their last handle was closed: opening one costs a look into the catalog. */
  readonly idleEntries: number
}

/** The store on disk: see DESIGN.md. `openDiskStore` makes one. */
export class DiskStore implements Store {
  readonly tags: TagRecords
  readonly #root: string
  readonly #parts: DiskParts
  readonly #shelf: Shelf
  readonly #space: Space
  readonly #closeSyncMs: number
  readonly #background = new AbortController()
  #chores: Promise<void> = Promise.resolve()
  #closing: Promise<void> | undefined
  readonly #released = (entry: Entry): Promise<void> => this.#shelf.released(entry)

  constructor(root: string, parts: DiskParts, space: Space, options: DiskStoreSettings) {
    this.#root = root
    this.#parts = parts
    this.#space = space
    this.#closeSyncMs = options.closeSyncMs
    this.#shelf = new Shelf(root, parts, { maxIdle: options.idleEntries })
    this.tags = new CatalogTags(parts.catalog, { maxTags: options.maxTags, onFailure: parts.onFailure })
  }

  /** Bytes of buffers that were made so far; never over the option of that name. */
  get bufferBytes(): number {
    return this.#parts.pool.madeBytes
  }

  async open(digest: Digest): Promise<StoredBlob | undefined> {
    this.#checkOpen()
    const known = this.#shelf.peek(digest)
    if (known !== undefined) this.#shelf.add(known)
    const entry = known ?? (await this.#shelf.inTurn(digest, () => this.#shelf.find(digest)))
    if (entry === undefined) return undefined
    const blob = new DiskBlob(entry, this.#released)
    if (entry.isHeld) return blob
    await blob[Symbol.asyncDispose]()
    return undefined
  }

  async write(digest: Digest, size: number): Promise<BlobWriter> {
    this.#checkOpen()
    geometryOf(size)
    try {
      const { writer, failure } = await this.#shelf.inTurn(digest, async () => {
        const fresh = new DiskWriter(await this.#toWrite(digest, size), this.#released)
        return fresh.prepare().then(
          () => ({ writer: fresh, failure: undefined }),
          (error) => ({ writer: fresh, failure: this.#failed(error, `opening ${digest}`) }),
        )
      })
      if (failure === undefined) return writer
      await writer[Symbol.asyncDispose]()
      throw failure
    } catch (error) {
      await this.#release(digest)
      throw error
    }
  }

  async ingest(
    source: AsyncIterable<Uint8Array>,
    options: { expected?: Digest; meta?: BlobMeta; signal: AbortSignal },
  ): Promise<BlobInfo> {
    this.#checkOpen()
    const { expected, meta, signal } = options
    const directory = spoolPath(this.#root)
    const place = (content: Ingested) =>
      this.#shelf.inTurn(content.digest, () => this.#place(content, meta)).finally(() => this.#release(content.digest))
    try {
      return await ingest(source, { directory, expected, parts: this.#parts, signal }, place)
    } catch (error) {
      if (isFull(error)) this.#parts.onFailure(error)
      throw error
    }
  }

  async setMeta(digest: Digest, meta: BlobMeta): Promise<void> {
    await using blob = await this.open(digest)
    // a writer that has put nothing yet has an entry too: what is private must be marked before its first byte
    const entry = this.#shelf.peek(digest)
    if (entry === undefined || (blob === undefined && entry.users === 0))
      throw new ShoalError('BLOB_UNKNOWN', `${digest} is not held`)
    entry.held.meta = meta
    await entry.record()
  }

  async delete(digest: Digest): Promise<boolean> {
    this.#checkOpen()
    return this.#shelf.inTurn(digest, async () => {
      const entry = await this.#shelf.find(digest)
      if (entry === undefined) return false
      const { isHeld } = entry
      await this.#shelf.remove(entry)
      return isHeld
    })
  }

  async *list(): AsyncIterable<BlobInfo> {
    this.#checkOpen()
    await this.flush().catch(() => {})
    for await (const { digest, record } of this.#parts.catalog.blobs()) {
      const { size, heldBytes, verified, meta, storedAt } = record
      const known = this.#shelf.peek(digest)
      if (known !== undefined) yield known.held.info()
      else yield { digest, size, complete: verified && heldBytes === size, heldBytes, meta, storedAt }
    }
  }

  async usage(): Promise<{ readonly blobs: number; readonly bytes: number }> {
    return this.#parts.usage.read()
  }

  /** Waits until all pieces put so far are recorded. @throws ShoalError STORE_FULL, STORE_FAILED */
  async flush(): Promise<void> {
    await this.#parts.recorder.flush()
  }

  /** As `flush`, and until power loss cannot undo it. */
  async sync(): Promise<void> {
    await this.flush()
    await this.#parts.syncer.sync()
  }

  /** Waits until what an earlier run had left is gone. */
  async tidied(): Promise<void> {
    await this.#chores
  }

  /** What may wait until the store is open: removes what an earlier run left. */
  startChores(left: readonly string[]): void {
    const { log, catalog } = this.#parts
    this.#chores = (async () => {
      await emptySpool(spoolPath(this.#root), left)
      if (!catalog.unswept) return
      const { signal } = this.#background
      const removed = await sweep(this.#root, (digest) => this.#removeUnknown(digest), { signal })
      catalog.unswept = signal.aborted
      if (removed > 0) log.info({ files: removed }, 'files were removed that an unclean stop had left without a record')
    })().catch((error) => log.warn({ err: error }, 'what an earlier run left could not be removed'))
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const { recorder, syncer, thread, catalog, log } = this.#parts
    this.#background.abort()
    await this.#chores
    const recorded = await recorder.close().then(
      () => true,
      () => false,
    )
    const synced = await syncer.close(this.#closeSyncMs)
    if (!recorded || !synced)
      log.warn('the disk did not take everything in time: pieces will be checked again before they are served')
    await thread[Symbol.asyncDispose]()
    this.#shelf.close()
    await catalog.close(recorded && synced)
  }

  /** The entry for a writer: the one there is, or a new one. In its turn. */
  async #toWrite(digest: Digest, size: number): Promise<Entry> {
    const existing = await this.#shelf.find(digest)
    if (existing?.writing) throw new ShoalError('STORE_FAILED', `${digest} has a writer already`)
    const fits = existing?.held.geometry.size === size
    if (existing !== undefined && !fits && existing.held.verified) throw sizeDiffers(existing.held, size)
    const missing = size - (fits ? existing.held.heldBytes : 0)
    if (missing > (await this.#space.room())) {
      throw this.#failed({ code: 'ENOSPC', message: 'not enough room' }, `${missing} bytes of ${digest}`)
    }
    if (existing !== undefined && fits) return existing
    // Its size was somebody's mistake, or lie: none of its pieces fits.
    if (existing !== undefined) await this.#shelf.remove(existing)
    const entry = newEntry(this.#root, digest, size, this.#parts)
    this.#shelf.add(entry)
    return entry
  }

  /** Makes a blob of what has come in. In its turn. */
  async #place(content: Ingested, meta: BlobMeta | undefined): Promise<BlobInfo> {
    const { digest } = content
    const existing = await this.#shelf.find(digest)
    if (existing?.held.complete) {
      if (meta !== undefined) {
        existing.held.meta = meta
        await existing.record()
      }
      return existing.held.info()
    }
    const entry = newEntry(this.#root, digest, 'bytes' in content ? content.bytes.length : content.size, this.#parts)
    entry.held.meta = meta ?? {}
    if (existing !== undefined) await this.#shelf.detach(existing)
    try {
      if ('path' in content) await moveInto(content.path, entry.file.path)
      entry.addAll(content)
      await this.#parts.catalog.write([...(existing?.removalOps() ?? []), ...entry.takeChanges().ops])
    } catch (error) {
      entry.detach()
      // What was held of it stays as it was: if the file has been replaced, then by one that has all of it.
      if (existing !== undefined) this.#shelf.attach(existing)
      else if (!entry.inline) await entry.file.remove()
      throw this.#failed(error, `bringing in ${digest}`)
    }
    this.#shelf.add(entry)
    return entry.held.info()
  }

  async #removeUnknown(digest: Digest): Promise<boolean> {
    return this.#shelf.inTurn(digest, async () => {
      const entry = this.#shelf.peek(digest)
      const record = await this.#parts.catalog.blob(digest)
      if (this.#background.signal.aborted || (entry !== undefined && !entry.inline)) return false
      if (record !== undefined && record.inline === undefined) return false
      await newEntry(this.#root, digest, 0, this.#parts).file.remove()
      return true
    })
  }

  /** Lets an entry go that was found and has got no handle. */
  async #release(digest: Digest): Promise<void> {
    const entry = this.#shelf.peek(digest)
    if (entry !== undefined) await this.#shelf.released(entry)
  }

  #failed(error: unknown, doing: string): ShoalError {
    if (isFull(error)) this.#parts.onFailure(error)
    return storeFailure(error, doing)
  }

  #checkOpen(): void {
    if (this.#closing !== undefined) throw new ShoalError('NODE_CLOSED', 'the store is closed')
  }
}

/** Where content is whose digest is not known yet. */
export function spoolPath(root: string): string {
  return join(root, 'spool')
}

/** Gives a file its final name, in place of what had it. */
async function moveInto(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true })
  await rename(from, to)
}
