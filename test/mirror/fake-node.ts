import type { Digest } from '../../protocols/digest.ts'
import type { TagQuestion } from '../../protocols/tag/codec.ts'
import type { TagWord } from '../../src/discovery/vouch.ts'
import type { OpenBlob, VerifiedChunk } from '../../src/download/download.ts'
import { codeOf, ShoalError } from '../../src/errors.ts'
import type { MirrorBackend } from '../../src/mirror/mirror.ts'
import type { OriginSource } from '../../src/origin/origin.ts'
import type { BlobInfo, BlobMeta, TagRecord } from '../../src/store/store.ts'
import type { ResolvedWord } from '../../src/zone-tags.ts'
import { FakeUpstream } from './fake-upstream.ts'

const PIECE_BYTES = 64 * 1024

interface Held {
  readonly bytes: Uint8Array
  meta: BlobMeta
}

interface Running {
  meta: BlobMeta
  ended: Promise<Held>
}

/** A node in memory, as the mirror sees one: holds blobs, joins downloads, imports from its upstream, hears of tags from peers. */
export class FakeNode implements MirrorBackend {
  readonly upstream = new FakeUpstream()
  readonly held = new Map<string, Held>()
  readonly atPeers = new Map<string, Held>()
  readonly vouched = new Map<string, TagWord>()
  readonly questions: TagQuestion[] = []
  readonly running = new Map<string, Running>()
  readonly records = new Map<string, TagRecord>()
  readonly opened: string[] = []
  openBlobs = 0
  /** Chunks given out and not released; what is released is overwritten, as a pool would. */
  outstanding = 0
  maxOutstanding = 0
  piecesRead = 0
  /** Awaited before each piece. */
  beforePiece: (index: number, signal: AbortSignal) => Promise<void> = async () => {}
  /** Awaited while an import is under way, after upstream has answered. */
  duringImport: () => Promise<void> = async () => {}

  readonly #wallClock: () => number

  constructor(wallClock: () => number = Date.now) {
    this.#wallClock = wallClock
  }

  get origin(): MirrorBackend['origin'] {
    return this.upstream.origin
  }

  readonly tags: MirrorBackend['tags'] = {
    get: async (name) => this.records.get(name),
    set: async (name, record) => {
      this.records.set(name, record)
    },
    delete: async (name) => {
      this.records.delete(name)
    },
  }

  /** Members of the zone who say, young enough, what a tag means. */
  readonly zone = new Map<string, ResolvedWord>()

  async resolveTag(...[reference, options]: Parameters<MirrorBackend['resolveTag']>): Promise<ResolvedWord> {
    const { registry, repository, tag } = reference
    const name = `${registry}/${repository}:${tag}`
    const told = this.zone.get(name)
    if (told !== undefined) return told
    const { usedAuthorization, ...head } = await this.upstream.resolveTag(reference, options)
    await this.tags.set(name, { ...head, checkedAt: this.#wallClock(), restricted: usedAuthorization })
    return { ...head, usedAuthorization, ageMs: 0, peerId: undefined }
  }

  async askTag(question: TagQuestion): Promise<{ answer: TagWord; peerId: string } | undefined> {
    this.questions.push(question)
    const answer = this.vouched.get(`${question.registry}/${question.repository}:${question.tag}`)
    return answer === undefined ? undefined : { answer, peerId: '12D3KooWPeer' }
  }

  async stat(digest: Digest): Promise<BlobInfo | undefined> {
    const held = this.held.get(String(digest))
    if (held === undefined) return undefined
    const size = held.bytes.length
    return { digest, size, complete: true, heldBytes: size, meta: held.meta, storedAt: 0 }
  }

  active(digest: Digest): BlobMeta | undefined {
    return this.running.get(String(digest))?.meta
  }

  async open(digest: Digest, { origin, signal }: { origin?: OriginSource; signal: AbortSignal }): Promise<OpenBlob> {
    this.opened.push(String(digest))
    signal.throwIfAborted()
    const held = await this.#held(digest, origin)
    signal.throwIfAborted()
    return this.#blob(digest, held)
  }

  async #held(digest: Digest, origin: OriginSource | undefined): Promise<Held> {
    const key = String(digest)
    const held = this.held.get(key) ?? this.atPeers.get(key)
    if (held !== undefined) return held
    const joined = this.running.get(key)
    if (joined !== undefined) {
      try {
        return await joined.ended
      } catch (error) {
        if (codeOf(error) !== 'ORIGIN_UNAUTHORIZED') throw error
      }
    }
    const running: Running = { meta: {}, ended: Promise.resolve() as unknown as Promise<Held> }
    this.running.set(key, running)
    running.ended = this.#import(digest, origin, running).finally(() => this.running.delete(key))
    return await running.ended
  }

  async #import(digest: Digest, origin: OriginSource | undefined, running: Running): Promise<Held> {
    if (origin?.type !== 'registry') throw new ShoalError('BLOB_UNKNOWN', `nobody has ${digest}`)
    const body = await this.origin.open(origin, digest, { start: 0 }, { signal: new AbortController().signal })
    const restrictedTo = body.usedAuthorization ? [`${origin.registry}/${origin.repository}`] : undefined
    running.meta = { mediaType: body.mediaType, restrictedTo }
    await this.duringImport()
    const chunks: Uint8Array[] = []
    for await (const chunk of body.body) chunks.push(chunk)
    const held = { bytes: Buffer.concat(chunks), meta: running.meta }
    this.held.set(String(digest), held)
    return held
  }

  #blob(digest: Digest, held: Held): OpenBlob {
    this.openBlobs++
    return {
      digest,
      size: held.bytes.length,
      get meta() {
        return held.meta
      },
      read: (options) => this.#read(held.bytes, options),
      whole: async () => {},
      [Symbol.asyncDispose]: async () => {
        this.openBlobs--
      },
    }
  }

  #released(bytes: Uint8Array): void {
    bytes.fill(0xee)
    this.outstanding--
  }

  async *#read(
    bytes: Uint8Array,
    { start = 0, end = bytes.length, signal }: { start?: number; end?: number; signal: AbortSignal },
  ): AsyncGenerator<VerifiedChunk> {
    for (let at = start; at < end; ) {
      const index = Math.floor(at / PIECE_BYTES)
      await this.beforePiece(index, signal)
      signal.throwIfAborted()
      const stop = Math.min(end, (index + 1) * PIECE_BYTES)
      const copy = new Uint8Array(bytes.subarray(at, stop))
      this.outstanding++
      this.piecesRead++
      this.maxOutstanding = Math.max(this.maxOutstanding, this.outstanding)
      at = stop
      yield { bytes: copy, release: once(() => this.#released(copy)) }
    }
  }
}

function once(run: () => void): () => void {
  let done = false
  return () => {
    if (done) throw new Error('released twice')
    done = true
    run()
  }
}
