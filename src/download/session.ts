import type { Digest } from '../../protocols/digest.ts'
import type { Geometry } from '../../protocols/pieces.ts'
import type { Candidate } from '../discovery/discovery.ts'
import { codeOf, ShoalError } from '../errors.ts'
import type { OriginSource } from '../origin/origin.ts'
import { rank } from '../rank/rank.ts'
import type { BlobMeta, StoredBlob } from '../store/store.ts'
import type { Swarm } from '../transfer/transfer.ts'
import { Bell } from './bell.ts'
import type { Reading } from './demand.ts'
import type { DownloadProgress } from './download.ts'
import { Importer } from './importer.ts'
import { Incoming } from './incoming.ts'
import type { Parts } from './parts.ts'
import { PeerSource } from './peer-source.ts'
import { Settling } from './settling.ts'
import { findSize } from './size-finder.ts'
import { provenLiars, reviseAfterMismatch } from './suspects.ts'
import { openWindowWriter } from './window-writer.ts'

const TICK_MS = 50
/** What nobody wants any more is let go after this, so that a client that reads in chunks does not restart it each time. */
const LINGER_MS = 1_000
/** The DHT and slow neighbours get this long to name a holder before the origin is gone to. */
const SETTLE_MS = 250
/** With holders in sight but nothing landing for so long, the download fails. */
const STUCK_MS = 30_000

/** The one download of one digest on this node: runs from the first reader to the commit, or until nobody wants it. */
export class Session {
  readonly digest: Digest
  readonly #parts: Parts
  readonly #bell = new Bell()
  readonly #stop = new AbortController()
  readonly #ended = Promise.withResolvers<void>()
  readonly #sources: OriginSource[] = []
  readonly #onEnd: () => void
  #handles = 0
  #linger: NodeJS.Timeout | undefined
  #incoming: Incoming | undefined
  #swarm: Swarm | undefined
  #peers: PeerSource | undefined
  #importer: Importer | undefined
  #meta: BlobMeta
  #committed = false
  #completions = 0
  /** Cleared when the store was full and nothing is kept. */
  #kept = true
  #failure: unknown
  #storeFailure: unknown
  #searching = true
  /** Peers that discovery named as holding the whole. */
  readonly #holders = new Set<string>()
  readonly #settling = new Settling()
  readonly #startedAt = performance.now()

  /** @param after resolves when a former download of the same digest has let its writer go */
  constructor(digest: Digest, meta: BlobMeta, parts: Parts, after: Promise<void>, onEnd: () => void) {
    this.digest = digest
    this.#meta = meta
    this.#parts = parts
    this.#onEnd = onEnd
    void after.then(() => this.#run())
  }

  /** Resolves when everything it held open is closed. */
  get ended(): Promise<void> {
    return this.#ended.promise
  }

  get meta(): BlobMeta {
    return this.#meta
  }

  get incoming(): Incoming | undefined {
    return this.#incoming
  }

  get over(): boolean {
    return this.#stop.signal.aborted || this.#failure !== undefined
  }

  /** A handle keeps the download alive; each is given back once. */
  hold(source: OriginSource | undefined): void {
    this.#handles++
    clearTimeout(this.#linger)
    if (source === undefined || this.#sources.some((s) => sameSource(s, source))) return
    this.#sources.push(source)
    this.#importer?.addSource(source)
    this.#bell.ring()
  }

  letGo(): void {
    if (--this.#handles > 0) return
    const over = this.#committed || this.#failure !== undefined
    this.#linger = setTimeout(
      () => this.#stop.abort(new ShoalError('NODE_CLOSED', 'nobody wants it any more')),
      over ? 0 : LINGER_MS,
    )
    this.#linger.unref()
  }

  /** Resolves when the size is known. @throws why it can't be */
  async geometry(signal: AbortSignal): Promise<Geometry> {
    await this.#until(() => this.#incoming !== undefined, signal)
    return (this.#incoming as Incoming).geometry
  }

  /** A reader's interest in pieces; the download fetches what readers want. */
  read(first: number, last: number): Reading {
    const reading = (this.#incoming as Incoming).demand.add(first, last)
    this.#bell.ring()
    return reading
  }

  endRead(reading: Reading): void {
    this.#incoming?.demand.delete(reading)
    this.#bell.ring()
  }

  /** Resolves with where to read the piece when it is verified; the last one only when the whole digest is. */
  async piece(index: number, signal: AbortSignal): Promise<StoredBlob> {
    const incoming = this.#incoming as Incoming
    this.#bell.ring()
    await this.#until(() => this.hasNow(index), signal)
    return incoming.writer
  }

  /** Whether `piece` would resolve at once. */
  hasNow(index: number): boolean {
    const incoming = this.#incoming
    if (incoming?.writer.have.has(index) !== true) return false
    return this.#committed || index < incoming.geometry.pieces - 1
  }

  async committed(signal: AbortSignal): Promise<void> {
    await this.#until(() => this.#committed, signal)
  }

  progress(): DownloadProgress {
    const i = this.#incoming
    return {
      digest: this.digest,
      size: i?.geometry.size,
      heldBytes: i === undefined ? 0 : Math.min(i.geometry.size, i.writer.have.count * i.geometry.pieceBytes),
      fromPeersBytes: i?.fromPeersBytes ?? 0,
      fromOriginBytes: i?.fromOriginBytes ?? 0,
      readers: this.#handles,
      neighbours: this.#swarm?.neighbours().length ?? 0,
    }
  }

  async close(): Promise<void> {
    this.#stop.abort(new ShoalError('NODE_CLOSED', 'the node is closing'))
    await this.#ended.promise
  }

  async #closeAll(open: readonly (AsyncDisposable | undefined)[]): Promise<void> {
    for (const one of open) {
      try {
        await one?.[Symbol.asyncDispose]()
      } catch (error) {
        this.#parts.log.warn({ digest: String(this.digest), err: error }, 'closing a part of a download failed')
      }
    }
  }

  async #until(done: () => boolean, signal: AbortSignal): Promise<void> {
    while (!done()) {
      if (this.#failure !== undefined) throw this.#failure
      this.#stop.signal.throwIfAborted()
      await this.#bell.wait(signal)
    }
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    const ring = () => this.#bell.ring()
    signal.addEventListener('abort', ring)
    const swarm = this.#parts.transfer.join(this.digest)
    this.#swarm = swarm
    const unsubscribe = swarm.onChange(ring)
    const tick = setInterval(ring, TICK_MS)
    tick.unref()
    try {
      const incoming = await this.#prepare(swarm, signal)
      for (;;) {
        await this.#fill(incoming, signal)
        this.#complete()
        // readers go on until they are done; a piece that our disk turns out to have spoilt is brought in anew
        while (incoming.writer.have.complete) await this.#bell.wait(signal)
        this.#committed = false
      }
    } catch (error) {
      this.#ending(error)
    } finally {
      unsubscribe()
      ring()
    }
    clearInterval(tick)
    clearTimeout(this.#linger)
    this.#stop.abort(new ShoalError('NODE_CLOSED', 'the download has ended'))
    this.#abortAttempts()
    this.#importer?.close()
    await this.#closeAll([swarm, this.#incoming?.writer])
    this.#onEnd()
    this.#ended.resolve()
  }

  #ending(error: unknown): void {
    const cancelled = this.#stop.signal.aborted
    if (this.#completions === 0) this.#parts.metrics.downloadEnded(cancelled ? 'cancelled' : 'failed')
    if (cancelled && this.#committed) return
    this.#failure = error
    if (cancelled) return
    this.#committed = false
    const code = codeOf(error)
    this.#parts.log.warn(
      { digest: String(this.digest), code, err: code === undefined ? error : undefined },
      `download failed: ${(error as Error).message}`,
    )
  }

  #complete(): void {
    this.#committed = true
    if (this.#completions++ === 0) this.#parts.metrics.downloadEnded('complete')
    if (this.#kept && (this.#meta.restrictedTo === undefined || this.#parts.shared)) this.#parts.discovery.announce(this.digest)
    this.#parts.transfer.refresh(this.digest)
    this.#bell.ring()
  }

  /** Finds out how large it is and sets up its sources. */
  async #prepare(swarm: Swarm, signal: AbortSignal): Promise<Incoming> {
    void this.#search(swarm, signal)
    const found = await findSize({
      digest: this.digest,
      swarm,
      parts: this.#parts,
      sources: this.#sources,
      settled: () => this.#settled(),
      searching: () => this.#searching,
      holders: this.#holders,
      bell: this.#bell,
      signal,
    })
    if (found.meta !== undefined) this.#meta = { ...found.meta, ...withoutUndefined(this.#meta) }
    const incoming = new Incoming(this.digest, found.writer, this.#bell, this.#parts.metrics)
    this.#wire(incoming, swarm)
    this.#incoming = incoming
    if (found.restrictedTo !== undefined) await this.#restrict(found.restrictedTo)
    if (found.body !== undefined) this.#importer?.adopt(found.body.body, found.body.source)
    if (found.first !== undefined) await (this.#peers as PeerSource).acceptEarly(found.first.peerId, found.first.bytes)
    this.#bell.ring()
    return incoming
  }

  #wire(incoming: Incoming, swarm: Swarm): void {
    const { log, metrics, random, origin, leases, bans } = this.#parts
    const onFailure = (error: unknown) => {
      this.#storeFailure = error
      this.#bell.ring()
    }
    const onLiar = (peerId: string, reason: string) => bans.add(peerId, reason)
    this.#peers = new PeerSource(incoming, swarm, { random, log, metrics, onFailure, onLiar })
    this.#importer = new Importer(incoming, {
      origin,
      leases,
      log,
      onFailure,
      onBody: async (source, body) => {
        if (source.type === 'registry' && body.usedAuthorization) await this.#restrict(`${source.registry}/${source.repository}`)
      },
    })
    for (const source of this.#sources) this.#importer.addSource(source)
    const have = incoming.writer.have
    if (have.count > 0) this.#parts.transfer.refresh(this.digest)
  }

  /** Content that came with a client's own credentials is marked before its first byte is stored. */
  async #restrict(name: string): Promise<void> {
    const names = new Set([...(this.#meta.restrictedTo ?? []), name])
    this.#meta = { ...this.#meta, restrictedTo: [...names] }
    await this.#parts.store.setMeta(this.digest, this.#meta)
  }

  /** Brings candidates into the swarm as discovery names them. */
  async #search(swarm: Swarm, signal: AbortSignal): Promise<void> {
    const candidates: Candidate[] = []
    // those known at the same moment come in this node's order of preference: a swarm takes in a bounded number
    const addRanked = () => {
      const ranked = rank(
        candidates.splice(0).map((c) => ({ ...c, bytesPerSecond: undefined, load: 0 })),
        this.#parts.label,
      )
      for (const { peer } of ranked) swarm.add(peer)
      this.#bell.ring()
    }
    try {
      for await (const candidate of this.#parts.discovery.find(this.digest, { signal })) {
        if (this.#parts.bans.has(candidate.peer.id)) continue
        if (candidate.reason === 'holder') this.#holders.add(candidate.peer.id)
        candidates.push(candidate)
        if (candidates.length === 1) queueMicrotask(addRanked)
      }
    } catch (error) {
      if (!signal.aborted) this.#parts.log.warn({ digest: String(this.digest), err: error }, 'discovery failed')
    } finally {
      this.#searching = false
      this.#bell.ring()
    }
  }

  /** Whether peers had their chance to say that they hold it: then what nobody has is the origin's. */
  #settled(): boolean {
    const now = performance.now()
    if (this.#settling.undecided((this.#swarm as Swarm).neighbours(), now)) return false
    return !this.#searching || now - this.#startedAt > SETTLE_MS
  }

  /** Runs until every wanted piece is held and the blob is whole. */
  async #fill(incoming: Incoming, signal: AbortSignal): Promise<void> {
    for (;;) {
      while (!incoming.writer.have.complete) {
        signal.throwIfAborted()
        await this.#heed(incoming)
        this.#pump(incoming, signal)
        await this.#bell.wait(signal)
      }
      if (await this.#check(incoming, signal)) return
    }
  }

  /** @returns whether the whole digest is right; otherwise the pieces to doubt have been dropped, and the filling goes on */
  async #check(incoming: Incoming, signal: AbortSignal): Promise<boolean> {
    try {
      await incoming.writer.commit(this.#meta)
      await this.#convict(incoming)
      return true
    } catch (error) {
      if (codeOf(error) !== 'DIGEST_MISMATCH') throw error
      await this.#peers?.gatherWords(signal)
      const doubted = await reviseAfterMismatch(incoming, this.#importer?.able === true)
      if (doubted === undefined) {
        await this.#condemn(incoming)
        throw error
      }
      this.#parts.log.warn(
        { digest: String(this.digest), pieces: doubted.length },
        'the digest does not match: pieces are fetched again by another path',
      )
      this.#peers?.unpark()
      await incoming.writer.drop(doubted)
      return false
    }
  }

  /** With the truth known, authors who said something else are proven liars. */
  async #convict(incoming: Incoming): Promise<void> {
    const { book, geometry } = incoming
    if (book.authors().size === 0) return
    const truth = await incoming.writer.hashes(0, geometry.pieces)
    const byAuthor = Map.groupBy(
      book.contradicting((index) => truth[index]),
      (claim) => claim.author,
    )
    for (const [author, claims] of byAuthor) {
      if (author === this.#parts.peerId) continue
      this.#parts.bans.add(author, `signed a wrong piece list of ${this.digest}`, claims.slice(0, 4))
    }
  }

  /** Every path led to the wrong digest: nothing of it is kept, and who signed exactly this list is proven wrong by the digest itself. */
  async #condemn(incoming: Incoming): Promise<void> {
    const accepted = await incoming.writer.hashes(0, incoming.geometry.pieces)
    for (const [author, claims] of provenLiars(incoming.book, accepted)) {
      if (author !== this.#parts.peerId)
        this.#parts.bans.add(author, `signed a piece list that is not ${this.digest}`, claims.slice(0, 4))
    }
    await incoming.writer.drop(Array.from({ length: incoming.geometry.pieces }, (_, index) => index))
  }

  /** A store that can't take more does not end a download: it streams through. */
  async #heed(incoming: Incoming): Promise<void> {
    const error = this.#storeFailure
    if (error === undefined) return
    this.#storeFailure = undefined
    if (codeOf(error) !== 'STORE_FULL') throw error
    this.#parts.log.warn(
      { digest: String(this.digest), code: 'STORE_FULL' },
      'no room in the store: streaming through without keeping',
    )
    incoming.writer = openWindowWriter(incoming.writer, incoming.demand)
    this.#kept = false
  }

  #pump(incoming: Incoming, signal: AbortSignal): void {
    const now = performance.now()
    const peers = this.#peers as PeerSource
    const importer = this.#importer as Importer
    peers.pump(now)
    if (incoming.demand.readers === 0 || !this.#settled()) return
    const orphaned = (index: number) => this.#orphaned(incoming, index, performance.now())
    const missing = incoming.demand.missing((index) => incoming.writer.have.has(index))
    const orphans = missing.filter((index) => this.#orphaned(incoming, index, now))
    const urgent = incoming.demand.urgent((index) => !orphaned(index), 1)
    importer.pump(inReadingOrder(orphans, urgent[0]), orphaned, now, signal)
    this.#failIfHopeless(incoming, missing, now)
  }

  /** Nobody who makes progress brings it, and no such peer holds it. */
  #orphaned(incoming: Incoming, index: number, now: number): boolean {
    if (incoming.writer.have.has(index)) return false
    const attempts = incoming.attempts.get(index)
    if (attempts?.some((a) => a.from === 'origin' || now - a.progressedAt < SETTLE_MS)) return false
    return !(this.#peers as PeerSource).covers(index, now)
  }

  #failIfHopeless(incoming: Incoming, missing: readonly number[], now: number): void {
    const importer = this.#importer as Importer
    if (missing.length === 0 || importer.able || importer.running || incoming.attempts.size > 0) return
    const stuck = now - Math.max(incoming.progressedAt, this.#startedAt) > STUCK_MS
    if ((this.#peers as PeerSource).hopeful && !stuck) return
    if (this.#searching && !stuck) return
    throw (
      importer.error ??
      new ShoalError('BLOB_UNKNOWN', `no peer holds all of ${this.digest}, and there is no origin to import it from`)
    )
  }

  #abortAttempts(): void {
    for (const attempts of this.#incoming?.attempts.values() ?? []) for (const attempt of attempts) attempt.abort.abort()
  }
}

/** Orphans from the first on that a reader needs, then around to the start. */
function inReadingOrder(orphans: readonly number[], next: number | undefined): readonly number[] {
  const at = next === undefined ? 0 : orphans.findIndex((index) => index >= next)
  return at <= 0 ? orphans : [...orphans.slice(at), ...orphans.slice(0, at)]
}

function sameSource(a: OriginSource, b: OriginSource): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

function withoutUndefined(meta: BlobMeta): BlobMeta {
  return Object.fromEntries(Object.entries(meta).filter(([, value]) => value !== undefined))
}
