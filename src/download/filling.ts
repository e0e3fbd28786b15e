import { codeOf, ShoalError } from '../errors.ts'
import type { OriginBody, OriginSource } from '../origin/origin.ts'
import type { BlobMeta } from '../store/store.ts'
import type { Swarm } from '../transfer/transfer.ts'
import { type Adopted, Importer } from './importer.ts'
import type { Incoming } from './incoming.ts'
import type { Introduction } from './introduction.ts'
import type { SharedParts } from './parts.ts'
import { PeerSource } from './peer-source.ts'
import { Scrutiny } from './scrutiny.ts'
import type { Search } from './search.ts'
import { SILENCE_MS } from './usable.ts'
import { commitOrDoubt } from './verdict.ts'
import { openWindowWriter } from './window-writer.ts'

/** With holders in sight but nothing landing for so long, a download fails. */
const STUCK_MS = 15_000

/** A holder whose connection broke gets this long to come back. */
const REUNION_MS = 3_000

export interface FillingOptions {
  readonly incoming: Incoming
  readonly swarm: Swarm
  readonly search: Search
  readonly introduction: Introduction
  readonly parts: SharedParts
  /** The blob's size is the word of peers only. */
  readonly claimedSize: boolean
  readonly meta: () => BlobMeta
  /** Told of each answer of an origin before its first byte is stored. */
  readonly onBody: (source: OriginSource, body: OriginBody) => Promise<void>
}

/** Runs the sources of one download until every wanted piece is held and the whole is right. */
export class Filling {
  readonly #options: FillingOptions
  readonly #incoming: Incoming
  readonly #peers: PeerSource
  readonly #importer: Importer
  readonly #scrutiny: Scrutiny
  readonly #closing = new AbortController()
  #storeFailure: unknown
  #kept = true

  constructor(options: FillingOptions) {
    const { incoming, swarm, parts, introduction, claimedSize, onBody } = options
    const { log, metrics, random, origin, bans, spare, downloadLimit: limit } = parts
    this.#options = options
    this.#incoming = incoming
    const onFailure = (error: unknown) => {
      this.#storeFailure = error
      incoming.bell.ring()
    }
    const onLiar = (peerId: string, reason: string) => {
      bans.add(peerId, reason)
      swarm.remove(peerId)
    }
    introduction.audited = incoming.doubts.urgent
    this.#peers = new PeerSource(incoming, swarm, { selfId: parts.peerId, limit, spare, random, log, metrics, onFailure, onLiar })
    this.#importer = new Importer(incoming, { origin, introduction, claimedSize, log, metrics, onFailure, onBody })
    this.#scrutiny = new Scrutiny({
      incoming,
      parts,
      neighbours: () => swarm.neighbours(),
      waiting: () => swarm.waiting,
      ask: (peerId, index) => this.#peers.askWord(peerId, index, this.#closing.signal),
      importable: () => this.#importer.ranged,
      onCaught: (wrong) => this.#peers.caught(wrong),
    })
  }

  /** Whether the store keeps what came in: not so when it was full. */
  get kept(): boolean {
    return this.#kept
  }

  addSource(source: OriginSource): void {
    this.#importer.addSource(source)
    this.#incoming.bell.ring()
  }

  /** Takes over a grant, and the request that was opened under it to learn the blob's size. */
  adopt(adopted: Adopted): void {
    this.#importer.adopt(adopted)
  }

  /** Takes a first piece that came before the size was known. */
  async acceptEarly(peerId: string, bytes: Uint8Array): Promise<void> {
    await this.#peers.acceptEarly(peerId, bytes)
  }

  /** Resolves when the blob is whole, right and committed. @throws why it can't be */
  async run(signal: AbortSignal): Promise<void> {
    const { parts, meta } = this.#options
    const incoming = this.#incoming
    for (;;) {
      while (!incoming.writer.have.complete) {
        signal.throwIfAborted()
        this.#heedStore()
        this.#pump(signal)
        await incoming.bell.wait(signal)
      }
      const gatherWords = (until: AbortSignal) => this.#peers.gatherWords(until)
      const originAble = this.#importer.able
      const isMine = (author: string) => this.#scrutiny.isMine(author)
      const right = await commitOrDoubt({ incoming, parts, meta: meta(), originAble, isMine, gatherWords, signal })
      if (right) {
        await this.#peers.judgeLate()
        return
      }
      this.#peers.unpark()
    }
  }

  /** Whether the blob may have another size than we were told: a neighbour says so, or an origin could tell. */
  mayHaveOtherSize(disproved: ReadonlySet<number>): boolean {
    return this.#importer.contradicted || this.#importer.able || this.#peers.saysOtherSize(disproved)
  }

  close(): void {
    for (const attempts of this.#incoming.attempts.values()) for (const attempt of attempts) attempt.abort.abort()
    this.#closing.abort()
    this.#importer.close()
    this.#peers.close()
  }

  /** A store that can't take more does not end a download: it streams through. */
  #heedStore(): void {
    const error = this.#storeFailure
    if (error === undefined) return
    this.#storeFailure = undefined
    if (codeOf(error) !== 'STORE_FULL') throw error
    const digest = String(this.#incoming.digest)
    this.#options.parts.log.warn({ digest, code: 'STORE_FULL' }, 'no room in the store: streaming through without keeping')
    this.#incoming.writer = openWindowWriter(this.#incoming.writer, this.#incoming.demand)
    this.#kept = false
  }

  #pump(signal: AbortSignal): void {
    const now = performance.now()
    const { demand } = this.#incoming
    this.#scrutiny.pump(now)
    this.#peers.pump(now)
    if (demand.readers === 0 || !this.#options.search.settled()) return
    if (this.#importer.ready(now) && !this.#leavesImporting(now)) {
      const orphaned = (index: number) => this.#orphaned(index)
      this.#importer.pump(fromNearest(this.#orphans(now), demand.earliest ?? 0), orphaned, signal)
    }
    this.#failIfHopeless(now)
  }

  /** What our origin gives is rather wrong: as long as pieces come in otherwise, others import. */
  #leavesImporting(now: number): boolean {
    return this.#scrutiny.isDoubtful && now - this.#incoming.progressedAt < SILENCE_MS
  }

  /** Wanted pieces that nobody brings and that no peer holds who shows signs of life. */
  #orphans(now: number): number[] {
    const { demand, writer, attempts } = this.#incoming
    const covered = this.#peers.coverage(now)
    if (covered?.complete) return []
    const imported = (index: number) => attempts.get(index)?.some((a) => a.from === 'origin') === true
    return demand.missing((index) => writer.have.has(index) || covered?.has(index) === true || imported(index))
  }

  /** Nobody brings it, and no peer that shows signs of life holds it. */
  #orphaned(index: number): boolean {
    if (this.#incoming.writer.have.has(index) || !this.#incoming.demand.wants(index)) return false
    if (this.#incoming.attempts.get(index)?.some((a) => a.from === 'origin')) return false
    return !this.#peers.covers(index, performance.now())
  }

  #failIfHopeless(now: number): void {
    const { attempts, demand, writer, progressedAt, digest } = this.#incoming
    if (this.#peers.held || this.#importer.able || this.#importer.running || attempts.size > 0 || demand.satisfied(writer.have))
      return
    const quietMs = now - progressedAt
    if (
      (quietMs < REUNION_MS && this.#peers.mayReturn) ||
      (quietMs < STUCK_MS && (this.#peers.hopeful || !this.#options.search.over))
    )
      return
    throw (
      this.#importer.error ??
      new ShoalError('BLOB_UNKNOWN', `no peer holds all of ${digest}, and there is no origin to import it from`)
    )
  }
}

/** Orphans from the first that a reader needs on, then around to the start. */
function fromNearest(orphans: readonly number[], next: number): readonly number[] {
  const at = orphans.findIndex((index) => index >= next)
  return at <= 0 ? orphans : [...orphans.slice(at), ...orphans.slice(0, at)]
}
