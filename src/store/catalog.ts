import { readdir, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { Level } from 'level'
import type { Digest } from '../../protocols/digest.ts'
import { ShoalError } from '../../protocols/error.ts'
import type { Log } from '../telemetry/log.ts'
import { Absences } from './absences.ts'
import { syncPath } from './blob-file.ts'
import { storeFailure } from './failures.ts'
import {
  BLOB_KEYS,
  type BlobRecord,
  blobKey,
  bytesKey,
  decodeBlob,
  decodeState,
  decodeTag,
  digestOfKey,
  encodeJson,
  nameOfKey,
  pieceKey,
  STATE_KEY,
  TAG_KEYS,
} from './records.ts'
import type { TagRecord } from './store.ts'

export type CatalogOp =
  | { readonly type: 'put'; readonly key: string; readonly value: Buffer }
  | { readonly type: 'del'; readonly key: string }

type Database = Level<string, Buffer>

interface Pending {
  readonly ops: CatalogOp[]
  readonly done: PromiseWithResolvers<void>
}

/** What is held, recorded: the only file that knows Level. Writes are atomic, in order, and grouped while one is under way. */
export class Catalog implements AsyncDisposable {
  readonly epoch: number
  /** After a stop that was not clean, and until it was said that they are gone: there may be files without a record. */
  unswept: boolean
  readonly #path: string
  readonly #db: Database
  readonly #log: Log
  readonly #absences = new Absences()
  #pending: Pending | undefined
  #draining: Promise<void> | undefined
  /** Set after a write failed: nothing may be appended any more before the database was opened again (DESIGN.md, "A full disk and Level"). */
  #broken: unknown
  #reopening: Promise<void> | undefined

  private constructor(path: string, db: Database, log: Log, state: { epoch: number; unswept: boolean }) {
    this.#path = path
    this.#db = db
    this.#log = log
    this.epoch = state.epoch
    this.unswept = state.unswept
  }

  /** @throws ShoalError STORE_LOCKED, STORE_FAILED, STORE_FULL */
  static async open(path: string, log: Log): Promise<Catalog> {
    const db: Database = new Level(path, { keyEncoding: 'utf8', valueEncoding: 'buffer' })
    await openDatabase(db, path, log)
    try {
      const value = await db.get(STATE_KEY)
      const state = value === undefined ? undefined : decodeState(value)
      if (state !== undefined && state.format !== 1) {
        throw new ShoalError('STORE_FAILED', `${path} was written in format ${state.format} by another version`)
      }
      const unclean = state !== undefined && !state.clean
      const epoch = (state?.epoch ?? 1) + (unclean ? 1 : 0)
      const unswept = unclean || state?.unswept === true
      await db.put(STATE_KEY, encodeJson({ format: 1, epoch, clean: false, unswept }), { sync: true })
      return new Catalog(path, db, log, { epoch, unswept })
    } catch (error) {
      await db.close()
      throw storeFailure(error, `opening ${path}`)
    }
  }

  async blob(digest: Digest): Promise<BlobRecord | undefined> {
    const key = blobKey(digest)
    if (this.#absences.has(key)) return undefined
    const { changes } = this.#absences
    const value = await this.#get(key)
    if (value === undefined) this.#absences.add(key, changes)
    return value === undefined ? undefined : decodeBlob(value)
  }

  /** The content of a small blob. */
  async bytes(digest: Digest): Promise<Buffer | undefined> {
    return this.#get(bytesKey(digest))
  }

  /** The groups of a blob's pieces, as recorded. */
  async groups(digest: Digest, count: number): Promise<(Buffer | undefined)[]> {
    if (count === 0) return []
    const keys = Array.from({ length: count }, (_, group) => pieceKey(digest, group))
    return this.#reading(() => this.#db.getMany(keys))
  }

  /** Every blob's record as of now: what is written later is not seen. */
  blobs(): AsyncIterable<{ digest: Digest; record: BlobRecord }> {
    return decoded(this.#db.iterator({ ...BLOB_KEYS, highWaterMarkBytes: 64 * 1024 }), (key, value) => {
      const record = decodeBlob(value)
      return record === undefined ? undefined : { digest: digestOfKey(key), record }
    })
  }

  tags(): AsyncIterable<{ name: string; record: TagRecord; order: number }> {
    return decoded(this.#db.iterator(TAG_KEYS), (key, value) => {
      const tag = decodeTag(value)
      return tag === undefined ? undefined : { name: nameOfKey(key), ...tag }
    })
  }

  /** Writes all or nothing. Calls take effect in the order they were made. @throws ShoalError STORE_FULL, STORE_FAILED */
  write(ops: readonly CatalogOp[]): Promise<void> {
    for (const { type, key } of ops) if (type === 'put') this.#absences.written(key)
    this.#pending ??= { ops: [], done: Promise.withResolvers() }
    this.#pending.ops.push(...ops)
    const { promise } = this.#pending.done
    this.#draining ??= this.#drain()
    return promise
  }

  /** What was written so far survives power loss from here on. Level itself does not sync a log that it has moved on from. */
  async sync(): Promise<void> {
    await this.#draining
    for (const name of await readdir(this.#path)) {
      if (name.endsWith('.log')) await syncPath(join(this.#path, name))
    }
    await syncPath(this.#path)
  }

  /** @param clean whether everything recorded is known to be on the disk */
  async close(clean: boolean): Promise<void> {
    await this.#draining
    await this.#reopening
    if (clean && this.#broken === undefined) {
      const state = encodeJson({ format: 1, epoch: this.epoch, clean: true, unswept: this.unswept })
      await this.#db.put(STATE_KEY, state, { sync: true }).catch((error) => {
        this.#log.warn({ err: error }, 'the store could not be marked as stopped cleanly')
      })
    }
    await this.#db.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close(false)
  }

  async #drain(): Promise<void> {
    for (let group = this.#pending; group !== undefined; group = this.#pending) {
      this.#pending = undefined
      try {
        await this.#append(group.ops)
        group.done.resolve()
      } catch (error) {
        group.done.reject(storeFailure(error, 'recording in the catalog'))
      }
    }
    this.#draining = undefined
  }

  async #append(ops: CatalogOp[]): Promise<void> {
    if (ops.length === 0) return
    if (this.#broken !== undefined) await this.#recover()
    try {
      await this.#db.batch(ops)
    } catch (error) {
      this.#broken = error
      throw error
    }
  }

  async #get(key: string): Promise<Buffer | undefined> {
    return this.#reading(() => this.#db.get(key))
  }

  async #reading<T>(read: () => Promise<T>): Promise<T> {
    try {
      if (this.#reopening !== undefined) await this.#reopening
      if (this.#db.status === 'closed' && this.#broken !== undefined) await this.#recover()
      return await read()
    } catch (error) {
      throw storeFailure(error, 'reading the catalog')
    }
  }

  async #recover(): Promise<void> {
    this.#reopening ??= this.#reopen().finally(() => {
      this.#reopening = undefined
    })
    return this.#reopening
  }

  async #reopen(): Promise<void> {
    if (!(await this.#hasRoom())) throw storeFailure(this.#broken, 'the catalog waits for room')
    await this.#db.close()
    await this.#db.open({ createIfMissing: false })
    this.#broken = undefined
    this.#log.info({ path: this.#path }, 'the catalog takes records again')
  }

  /** Opening replays the logs into a table: as much again as they have, and a little. */
  async #hasRoom(): Promise<boolean> {
    const logs = (await readdir(this.#path)).filter((name) => name.endsWith('.log'))
    const sizes = await Promise.all(logs.map(async (name) => (await stat(join(this.#path, name))).size))
    const { bavail, bsize } = await statfs(this.#path)
    return bavail * bsize >= 2 * sizes.reduce((sum, size) => sum + size, 0) + 1024 * 1024
  }
}

async function openDatabase(db: Database, path: string, log: Log): Promise<void> {
  try {
    await db.open()
  } catch (error) {
    const code = (error as { cause?: { code?: string } }).cause?.code
    if (code === 'LEVEL_LOCKED') {
      throw new ShoalError('STORE_LOCKED', `${path} is in use by another daemon`, { cause: error })
    }
    if (code !== 'LEVEL_CORRUPTION') throw storeFailure(error, `opening ${path}`)
    log.warn({ path, err: error }, 'the catalog is damaged: keeping what can be read of it')
    await repair(path)
    await db.open().catch((second) => Promise.reject(storeFailure(second, `opening ${path} after a repair`)))
  }
}

/** Level's types leave out what its Node.js flavour has. */
async function repair(path: string): Promise<void> {
  await (Level as unknown as { repair(location: string): Promise<void> }).repair(path)
}

async function* decoded<T>(
  entries: AsyncIterable<[string, Buffer]>,
  decode: (key: string, value: Buffer) => T | undefined,
): AsyncIterable<T> {
  try {
    for await (const [key, value] of entries) {
      const item = decode(key, value)
      if (item !== undefined) yield item
    }
  } catch (error) {
    throw storeFailure(error, 'reading the catalog')
  }
}
