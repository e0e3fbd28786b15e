import { cidOf, type Digest } from '../../protocols/digest.ts'
import type { Clock } from '../clock.ts'
import type { Host, Routing } from '../net/host.ts'
import type { Log } from '../telemetry/log.ts'
import type { Sink } from './held-sweep.ts'
import { jittered, type Random } from './pace.ts'
import { Waiters } from './waiters.ts'

const LIMITS = Object.freeze({
  /** Each costs look-ups of tens of peers. */
  concurrency: 4,
  /** Between the starts of two, so that a restarted node with many blobs starts at most 50 a second. */
  spacingMs: 20,
  maxQueued: 10_000,
  /** `ready` waits from here on. */
  sweepQueued: 256,
  /** Hosts that finish the same blob together do not announce it together. */
  spreadMs: 500,
  /** In a zone it is waited for the others' news: those who hold the blob too may have made records enough. */
  newsMs: 1_500,
  /** A first connection is of use when the peer has been identified and is in the routing table. */
  settleMs: 500,
  provideTimeoutMs: 30_000,
  attempts: 4,
  retryMs: 5_000,
  /** How often one goes on although plenty of others say that they hold it: they might lie. */
  doubt: 0.05,
})

export interface DhtRecordsOptions {
  readonly host: Pick<Host, 'peers' | 'onPeer'>
  readonly routing: Routing
  /** So many hold it nearby that one more record helps nobody, and a look-up gives every record. */
  readonly hasPlenty: (digest: string) => boolean
  /** Whether there are others nearby who would say so. */
  readonly hasCompany: () => boolean
  /** The node is connected after it was alone: what it announced before may be known to nobody. */
  readonly onOnline: () => void
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

interface Announcement {
  readonly digest: Digest
  readonly attempts: number
  /** Not before, on the monotonic clock. */
  readonly dueAt: number
}

interface Providing {
  readonly abort: AbortController
  readonly done: Promise<void>
}

/** This node's own records in the DHT. Records that stand are repeated by the DHT itself until they are withdrawn. */
export class DhtRecords implements Sink, AsyncDisposable {
  readonly #options: DhtRecordsOptions
  readonly #queue = new Map<string, Announcement>()
  readonly #running = new Map<string, Providing>()
  /** What failed, with what cancels its next attempt. */
  readonly #failed = new Map<string, () => void>()
  readonly #provided = new Set<string>()
  readonly #waiters = new Waiters()
  readonly #stopListening: () => void
  #online = false
  #cancelSettling: (() => void) | undefined
  #cancelTimer: (() => void) | undefined
  #closed = false

  constructor(options: DhtRecordsOptions) {
    this.#options = options
    this.#stopListening = options.host.onPeer(({ type }) => (type === 'connect' ? this.#connected() : this.#disconnected()))
    this.#connected()
  }

  offer(digest: Digest): void {
    const key = String(digest)
    const withdrawn = this.#running.get(key)?.abort.signal.aborted ?? true
    if (this.#closed || !withdrawn || this.#provided.has(key) || this.#failed.has(key)) return
    const { clock, random, hasCompany } = this.#options
    const dueAt = clock.now() + (hasCompany() ? LIMITS.newsMs * (1 + random()) : LIMITS.spreadMs * random())
    if (this.#queue.size < LIMITS.maxQueued) this.#queue.set(key, { digest, attempts: 0, dueAt })
    this.#wake(0)
  }

  withdraw(digest: Digest): void {
    const key = String(digest)
    const running = this.#running.get(key)
    this.#queue.delete(key)
    this.#provided.delete(key)
    this.#failed.get(key)?.()
    this.#failed.delete(key)
    running?.abort.abort()
    void this.#cancel(digest, running?.done)
  }

  async ready(): Promise<void> {
    while (this.#queue.size >= LIMITS.sweepQueued && !this.#closed) await this.#waiters.wait()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    this.#stopListening()
    this.#cancelTimer?.()
    this.#cancelSettling?.()
    for (const cancel of this.#failed.values()) cancel()
    this.#waiters.wake()
    const running = [...this.#running.values()]
    for (const { abort } of running) abort.abort()
    await Promise.all(running.map(({ done }) => done))
  }

  #connected(): void {
    const { host, clock, onOnline } = this.#options
    if (this.#online || this.#cancelSettling !== undefined || host.peers().length === 0) return
    this.#cancelSettling = clock.after(LIMITS.settleMs, () => {
      this.#cancelSettling = undefined
      this.#online = true
      this.#wake(0)
      onOnline()
    })
  }

  #disconnected(): void {
    if (this.#options.host.peers().length > 0) return
    this.#cancelSettling?.()
    this.#cancelSettling = undefined
    this.#online = false
    this.#provided.clear()
  }

  #wake(delayMs: number): void {
    if (this.#closed || !this.#online || this.#cancelTimer !== undefined) return
    const first = this.#queue.values().next().value
    if (first === undefined || this.#running.size >= LIMITS.concurrency) return
    const { clock } = this.#options
    this.#cancelTimer = clock.after(Math.max(delayMs, first.dueAt - clock.now()), () => {
      this.#cancelTimer = undefined
      if (this.#online) this.#next()
      this.#wake(LIMITS.spacingMs)
    })
  }

  #next(): void {
    const next = this.#queue.entries().next().value
    if (next === undefined) return
    const [key, announcement] = next
    this.#queue.delete(key)
    if (this.#queue.size < LIMITS.sweepQueued) this.#waiters.wake()
    const { hasPlenty, random } = this.#options
    if (hasPlenty(key) && random() >= LIMITS.doubt) return
    const abort = new AbortController()
    const done = this.#provide(key, announcement, abort.signal).finally(() => {
      if (this.#running.get(key)?.abort === abort) this.#running.delete(key)
      this.#wake(LIMITS.spacingMs)
    })
    this.#running.set(key, { abort, done })
  }

  async #provide(key: string, announcement: Announcement, withdrawn: AbortSignal): Promise<void> {
    const { routing, clock, log } = this.#options
    const abort = new AbortController()
    const onWithdrawn = () => abort.abort(withdrawn.reason)
    withdrawn.addEventListener('abort', onWithdrawn, { once: true })
    const cancelTimeout = clock.after(LIMITS.provideTimeoutMs, () => abort.abort(new Error('announcing took too long')))
    try {
      await routing.provide(cidOf(announcement.digest), { signal: abort.signal })
      if (!withdrawn.aborted) this.#provided.add(key)
    } catch (error) {
      log.debug({ digest: key, err: error }, 'a blob was not announced in the DHT')
      if (!withdrawn.aborted) this.#retryLater(key, { ...announcement, attempts: announcement.attempts + 1 })
    } finally {
      cancelTimeout()
    }
  }

  #retryLater(key: string, announcement: Announcement): void {
    if (this.#closed || announcement.attempts >= LIMITS.attempts) return
    const delayMs = jittered(LIMITS.retryMs * 2 ** announcement.attempts, this.#options.random)
    const cancel = this.#options.clock.after(delayMs, () => {
      this.#failed.delete(key)
      this.#queue.set(key, { ...announcement, dueAt: 0 })
      this.#wake(0)
    })
    this.#failed.set(key, cancel)
  }

  /** After what runs has ended, or it would write the record again; not at all when it is offered anew by then. */
  async #cancel(digest: Digest, running: Promise<void> | undefined): Promise<void> {
    const key = String(digest)
    try {
      await running
      if (!this.#queue.has(key) && !this.#running.has(key) && !this.#provided.has(key))
        await this.#options.routing.cancel(cidOf(digest))
    } catch (error) {
      this.#options.log.debug({ digest: key, err: error }, 'a DHT record was not withdrawn')
    }
  }
}
