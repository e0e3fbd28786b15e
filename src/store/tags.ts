import type { Catalog, CatalogOp } from './catalog.ts'
import { encodeJson, tagKey } from './records.ts'
import type { TagRecord, TagRecords } from './store.ts'

/** How many tags are remembered at most; the oldest go first. */
export const DEFAULT_MAX_TAGS = 10_000

/** Tags in the catalog, and all of them in memory: there are few. In the order of their age. */
export class CatalogTags implements TagRecords {
  readonly #catalog: Catalog
  readonly #maxTags: number
  readonly #onFailure: (error: unknown) => void
  #loading: Promise<Map<string, TagRecord>> | undefined
  #order = 0

  /** @param options.onFailure told of what could not be recorded: what a tag meant is then known until the end of this run only */
  constructor(catalog: Catalog, options: { maxTags: number; onFailure: (error: unknown) => void }) {
    this.#catalog = catalog
    this.#maxTags = options.maxTags
    this.#onFailure = options.onFailure
  }

  async get(name: string): Promise<TagRecord | undefined> {
    return (await this.#records()).get(name)
  }

  async set(name: string, record: TagRecord): Promise<void> {
    const records = await this.#records()
    records.delete(name)
    records.set(name, record)
    const order = ++this.#order
    const ops: CatalogOp[] = [
      { type: 'put', key: tagKey(name), value: encodeJson({ ...record, digest: record.digest.toString(), order }) },
    ]
    for (const oldest of records.keys()) {
      if (records.size <= this.#maxTags) break
      records.delete(oldest)
      ops.push({ type: 'del', key: tagKey(oldest) })
    }
    await this.#catalog.write(ops).catch(this.#onFailure)
  }

  async delete(name: string): Promise<void> {
    if (!(await this.#records()).delete(name)) return
    await this.#catalog.write([{ type: 'del', key: tagKey(name) }]).catch(this.#onFailure)
  }

  #records(): Promise<Map<string, TagRecord>> {
    this.#loading ??= this.#load().catch((error) => {
      this.#loading = undefined
      throw error
    })
    return this.#loading
  }

  async #load(): Promise<Map<string, TagRecord>> {
    const all: { name: string; record: TagRecord; order: number }[] = []
    for await (const tag of this.#catalog.tags()) all.push(tag)
    all.sort((a, b) => a.order - b.order)
    this.#order = all.at(-1)?.order ?? 0
    return new Map(all.map(({ name, record }) => [name, record]))
  }
}
