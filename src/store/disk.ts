import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Log } from '../telemetry/log.ts'
import { type Metrics, NO_METRICS } from '../telemetry/metrics.ts'
import { BufferPool } from './buffers.ts'
import { Catalog } from './catalog.ts'
import { DiskStore, type DiskStoreSettings, spoolPath } from './disk-store.ts'
import { DiskThread } from './disk-thread.ts'
import type { DiskParts } from './entry.ts'
import { isFull, storeFailure } from './failures.ts'
import { Recorder } from './recorder.ts'
import { Space } from './space.ts'
import { Syncer } from './syncer.ts'
import { DEFAULT_MAX_TAGS } from './tags.ts'
import { Usage } from './usage.ts'

const MiB = 1024 * 1024

export interface DiskStoreOptions {
  /** The data directory; made if need be. Everything in it is the store's. */
  readonly path: string
  readonly log: Log
  readonly metrics?: Metrics | undefined
  /** All memory that pieces pass through. */
  readonly bufferBytes?: number | undefined
  /** Kept free on the disk (of a small one: a twentieth), so that the catalog can always be written. */
  readonly reserveBytes?: number | undefined
  readonly maxTags?: number | undefined
  /** How long a record may wait for others, and bytes for their sync. */
  readonly recordDelayMs?: number | undefined
  readonly syncDelayMs?: number | undefined
  /** What syncing may take at the end: a stop that would take longer is not a clean one. */
  readonly closeSyncMs?: number | undefined
}

interface Settings extends DiskStoreSettings {
  readonly metrics: Metrics
  readonly bufferBytes: number
  readonly reserveBytes: number
  readonly recordDelayMs: number
  readonly syncDelayMs: number
  /** Memory of the pool is dropped after this long without use. */
  readonly bufferIdleMs: number
  /** That the disk is full, or fails, is logged no more often than this. */
  readonly failureNoticeMs: number
}

const DEFAULTS: Settings = Object.freeze({
  metrics: NO_METRICS,
  bufferBytes: 64 * MiB,
  reserveBytes: 32 * MiB,
  maxTags: DEFAULT_MAX_TAGS,
  recordDelayMs: 250,
  syncDelayMs: 5_000,
  closeSyncMs: 2_000,
  bufferIdleMs: 10_000,
  idleEntries: 64,
  failureNoticeMs: 60_000,
})

/**
 * Opens the store in a directory, which is this process's alone from then on.
 * @throws ShoalError STORE_LOCKED, STORE_FULL, STORE_FAILED
 */
export async function openDiskStore(options: DiskStoreOptions): Promise<DiskStore> {
  const settings = { ...DEFAULTS, ...defined(options) }
  const { path, log, metrics } = settings
  try {
    await mkdir(spoolPath(path), { recursive: true })
    await mkdir(join(path, 'blobs'), { recursive: true })
  } catch (error) {
    throw storeFailure(error, `making ${path}`)
  }
  const catalog = await Catalog.open(join(path, 'catalog'), log)
  try {
    const left = await readdir(spoolPath(path))
    const space = await Space.open(path, settings.reserveBytes)
    const onFailure = failureNotice(log, path, settings.failureNoticeMs)
    const parts: DiskParts = {
      catalog,
      thread: new DiskThread({ path, reserveBytes: space.reserveBytes }),
      pool: new BufferPool({ totalBytes: settings.bufferBytes, idleMs: settings.bufferIdleMs }),
      recorder: new Recorder(catalog, { delayMs: settings.recordDelayMs, onFailure }),
      syncer: new Syncer({ delayMs: settings.syncDelayMs, syncCatalog: () => catalog.sync(), onFailure }),
      usage: new Usage(catalog.blobs()),
      log,
      metrics,
      onFailure,
    }
    const store = new DiskStore(path, parts, space, settings)
    store.startChores(left)
    return store
  } catch (error) {
    await catalog.close(false)
    throw storeFailure(error, `opening ${path}`)
  }
}

/** Says that the disk is full, or fails, but not for each piece. */
function failureNotice(log: Log, path: string, everyMs: number): (error: unknown) => void {
  const saidAt = new Map<string, number>()
  return (error) => {
    const message = isFull(error) ? 'the disk is full: what is fetched is handed on but not kept' : 'the store cannot write'
    const now = performance.now()
    if (now - (saidAt.get(message) ?? Number.NEGATIVE_INFINITY) < everyMs) return
    saidAt.set(message, now)
    log.warn({ path, err: error }, message)
  }
}

/** Options that were given: `undefined` means the default. */
function defined<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as never
}
