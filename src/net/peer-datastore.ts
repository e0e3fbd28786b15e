import { LevelDatastore } from 'datastore-level'
import type { Log } from '../telemetry/log.ts'

type Key = Parameters<LevelDatastore['get']>[0]
type Batch = ReturnType<LevelDatastore['batch']>

/** What was put is written after so long, together with what else was. */
const SAVE_MS = 2_000
/** Values kept in memory: peers of a large zone, and then some. */
const MAX_REMEMBERED = 4_096

/**
 * What libp2p remembers of peers. It reads and rewrites a peer's record several times at each connection and each message
 * that names it, on the path of everything else; so reads come from memory and writes are gathered. A crash forgets the
 * last seconds' news of peers, which they tell again.
 */
export class PeerDatastore extends LevelDatastore {
  readonly #log: Log
  readonly #remembered = new Map<string, Uint8Array>()
  #unsaved = new Map<string, Uint8Array>()
  #saving: Promise<void> = Promise.resolve()
  #timer: NodeJS.Timeout | undefined

  constructor(path: string, log: Log) {
    super(path)
    this.#log = log
  }

  override async get(key: Key, options?: Parameters<LevelDatastore['get']>[1]): Promise<Uint8Array> {
    const name = key.toString()
    const known = this.#unsaved.get(name) ?? this.#remembered.get(name)
    if (known !== undefined) return known
    const value = await super.get(key, options)
    this.#remember(name, value)
    return value
  }

  override async has(key: Key, options?: Parameters<LevelDatastore['has']>[1]): Promise<boolean> {
    const name = key.toString()
    return this.#unsaved.has(name) || this.#remembered.has(name) || (await super.has(key, options))
  }

  override async put(key: Key, value: Uint8Array): Promise<Key> {
    const name = key.toString()
    this.#unsaved.set(name, value)
    this.#remember(name, value)
    this.#timer ??= setTimeout(() => void this.#save().catch(() => {}), SAVE_MS).unref()
    return key
  }

  override async delete(key: Key, options?: Parameters<LevelDatastore['delete']>[1]): Promise<void> {
    this.#forget(key)
    await this.#saving
    await super.delete(key, options)
  }

  override batch(): Batch {
    const batch = super.batch()
    return {
      put: (key, value) => {
        this.#forget(key)
        batch.put(key, value)
      },
      delete: (key) => {
        this.#forget(key)
        batch.delete(key)
      },
      commit: async (options) => {
        await this.#save()
        await batch.commit(options)
      },
    }
  }

  override async *_query(options: Parameters<LevelDatastore['_query']>[0]): ReturnType<LevelDatastore['_query']> {
    await this.#save()
    yield* super._query(options)
  }

  override async close(): Promise<void> {
    await this.#save().catch(() => {})
    await super.close()
  }

  #remember(name: string, value: Uint8Array): void {
    this.#remembered.delete(name)
    this.#remembered.set(name, value)
    if (this.#remembered.size > MAX_REMEMBERED) this.#remembered.delete(this.#remembered.keys().next().value as string)
  }

  #forget(key: Key): void {
    this.#unsaved.delete(key.toString())
    this.#remembered.delete(key.toString())
  }

  /** One after the other, so that what is newer is written later. */
  #save(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#saving = this.#saving.catch(() => {}).then(() => this.#write())
    return this.#saving
  }

  async #write(): Promise<void> {
    const unsaved = this.#unsaved
    if (unsaved.size === 0) return
    this.#unsaved = new Map()
    try {
      await this.db.batch([...unsaved].map(([key, value]) => ({ type: 'put', key, value })))
    } catch (err) {
      this.#log.warn({ err }, 'what is known of peers could not be written')
      throw err
    }
  }
}
