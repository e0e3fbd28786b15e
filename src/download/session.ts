import type { Digest } from '../../protocols/digest.ts'
import type { Geometry } from '../../protocols/pieces.ts'
import { codeOf, ShoalError } from '../errors.ts'
import type { OriginSource } from '../origin/origin.ts'
import type { BlobMeta, StoredBlob } from '../store/store.ts'
import type { Swarm } from '../transfer/transfer.ts'
import { Bell } from './bell.ts'
import { Company } from './company.ts'
import type { Reading } from './demand.ts'
import type { DownloadProgress } from './download.ts'
import { Filling } from './filling.ts'
import { Incoming } from './incoming.ts'
import { Introduction } from './introduction.ts'
import type { SharedParts } from './parts.ts'
import { Search } from './search.ts'
import { findSize } from './size-finder.ts'

/** How often time-outs are looked at. */
const TICK_MS = 200
/** What nobody wants any more is let go after this, so that a client that reads in chunks does not restart it each time. */
const LINGER_MS = 1_000

/** The one download of one digest on this node: runs from the first reader to the commit, or until nobody wants it. */
export class Session {
  readonly digest: Digest
  readonly #parts: SharedParts
  readonly #bell = new Bell()
  readonly #stop = new AbortController()
  readonly #ended = Promise.withResolvers<void>()
  readonly #sources: OriginSource[] = []
  readonly #onEnd: () => void
  #handles = 0
  #linger: NodeJS.Timeout | undefined
  #incoming: Incoming | undefined
  #swarm: Swarm | undefined
  #filling: Filling | undefined
  #search: Search | undefined
  #introduction: Introduction | undefined
  #company: Company | undefined
  #peersSaidSize = false
  /** Sizes that peers said and that led to no right digest, and who said them. */
  readonly #disproved = new Set<number>()
  readonly #sizeLiars = new Set<string>()
  #meta: BlobMeta
  #committed = false
  #completions = 0
  #failure: unknown

  /** @param after resolves when a former download of the same digest has let its writer go */
  constructor(digest: Digest, meta: BlobMeta, parts: SharedParts, after: Promise<void>, onEnd: () => void) {
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
  hold(sources: readonly OriginSource[]): void {
    this.#handles++
    clearTimeout(this.#linger)
    for (const source of sources) {
      if (this.#sources.some((s) => sameSource(s, source))) continue
      this.#sources.push(source)
      this.#filling?.addSource(source)
    }
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

  /**
   * Resolves with where to read the piece when it is verified; the last one only when the whole digest is.
   * @param geometry as `geometry` gave it
   * @throws ShoalError DIGEST_MISMATCH when it was the wrong one, or why the download failed
   */
  async piece(geometry: Geometry, index: number, signal: AbortSignal): Promise<StoredBlob> {
    this.#bell.ring()
    await this.#until(() => this.#incoming?.geometry !== geometry || this.hasNow(index), signal)
    const incoming = this.#incoming as Incoming
    if (incoming.geometry !== geometry)
      throw new ShoalError('DIGEST_MISMATCH', `${this.digest} does not have ${geometry.size} bytes`)
    incoming.show(index)
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
    const company = new Company(swarm)
    this.#company = company
    const introduction = new Introduction(this.digest, this.#parts.rendezvous, this.#bell, (peer) => {
      if (!this.#parts.bans.has(peer.id)) company.companion(peer)
    })
    this.#introduction = introduction
    const search = new Search(this.digest, swarm, company, this.#bell, introduction, this.#parts, () => this.#sources.length > 0)
    this.#search = search
    void search.run(signal)
    const tick = setInterval(ring, TICK_MS)
    tick.unref()
    try {
      for (;;) {
        await this.#fill(swarm, signal)
        this.#complete(this.#filling?.kept === true)
        // readers go on until they are done; a piece that our disk turns out to have spoilt is brought in anew
        while (this.#incoming?.writer.have.complete) await this.#bell.wait(signal)
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
    this.#filling?.close()
    await this.#closeAll([this.#introduction, swarm, this.#incoming?.writer])
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

  #complete(kept: boolean): void {
    this.#committed = true
    if (this.#completions++ === 0) this.#parts.metrics.downloadEnded('complete')
    for (const peerId of this.#sizeLiars) this.#parts.bans.add(peerId, `said a wrong size of ${this.digest}`)
    this.#sizeLiars.clear()
    if (kept && (this.#meta.restrictedTo === undefined || this.#parts.shared)) this.#parts.discovery.announce(this.digest)
    this.#parts.transfer.refresh(this.digest)
    this.#introduction?.complete()
    this.#bell.ring()
  }

  /** Brings everything in; anew, when the size that peers said turns out wrong. */
  async #fill(swarm: Swarm, signal: AbortSignal): Promise<void> {
    for (;;) {
      const filling = this.#filling ?? (await this.#prepare(swarm, signal))
      try {
        await filling.run(signal)
        return
      } catch (error) {
        if (!(await this.#disproveSize(filling, error))) throw error
      }
    }
  }

  /** A size is a claim like any other: when no path leads to the digest under it and there may be another, it is given up. */
  async #disproveSize(filling: Filling, error: unknown): Promise<boolean> {
    const incoming = this.#incoming as Incoming
    const code = codeOf(error)
    if (!this.#peersSaidSize || (code !== 'DIGEST_MISMATCH' && code !== 'BLOB_UNKNOWN')) return false
    const { size } = incoming.geometry
    this.#disproved.add(size)
    if (!filling.mayHaveOtherSize(this.#disproved)) return false
    this.#parts.log.warn({ digest: String(this.digest), size }, 'peers said a wrong size: starting anew')
    for (const { peer, size: said, state } of this.#swarm?.neighbours() ?? [])
      if (said === size && state === 'complete') this.#sizeLiars.add(peer.id)
    filling.close()
    this.#filling = undefined
    await incoming.drop(Array.from({ length: incoming.geometry.pieces }, (_, index) => index))
    await this.#closeAll([incoming.writer])
    return true
  }

  /** Finds out how large it is and sets up its sources. */
  async #prepare(swarm: Swarm, signal: AbortSignal): Promise<Filling> {
    const parts = this.#parts
    const search = this.#search as Search
    const introduction = this.#introduction as Introduction
    const [sources, disproved, bell] = [this.#sources, this.#disproved, this.#bell]
    const found = await findSize({ digest: this.digest, swarm, parts, sources, search, introduction, disproved, bell, signal })
    this.#peersSaidSize = found.peersSaySo
    if (found.meta !== undefined) this.#meta = { ...found.meta, ...withoutUndefined(this.#meta) }
    const onPiece = (index: number, from: string, tookMs: number) => {
      swarm.have([index])
      parts.log.trace({ digest: String(this.digest), index, from, tookMs }, 'piece held')
    }
    const { metrics, downlink } = parts
    const incoming = new Incoming(this.digest, found.writer, { bell, metrics, downlink, onPiece })
    const filling = new Filling({
      incoming,
      swarm,
      search,
      introduction,
      parts,
      claimedSize: found.peersSaySo,
      meta: () => this.#meta,
      onBody: async (source, body) => {
        if (source.type === 'registry' && body.usedAuthorization) await this.#restrict(`${source.registry}/${source.repository}`)
      },
    })
    this.#incoming = incoming
    this.#filling = filling
    for (const source of this.#sources) filling.addSource(source)
    if (found.restrictedTo !== undefined) await this.#restrict(found.restrictedTo)
    if (found.adopted !== undefined) filling.adopt(found.adopted)
    if (incoming.geometry.pieces > 1) {
      this.#company?.open()
      introduction.join(incoming.geometry.size)
    }
    if (incoming.writer.have.count > 0) parts.transfer.refresh(this.digest)
    if (found.first !== undefined) await filling.acceptEarly(found.first.peerId, found.first.bytes)
    this.#bell.ring()
    return filling
  }

  /** Content that came with a client's own credentials is marked before its first byte is stored. */
  async #restrict(name: string): Promise<void> {
    const names = new Set([...(this.#meta.restrictedTo ?? []), name])
    this.#meta = { ...this.#meta, restrictedTo: [...names] }
    await this.#parts.store.setMeta(this.digest, this.#meta)
  }
}

function sameSource(a: OriginSource, b: OriginSource): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

function withoutUndefined(meta: BlobMeta): BlobMeta {
  return Object.fromEntries(Object.entries(meta).filter(([, value]) => value !== undefined))
}
