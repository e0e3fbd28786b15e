import type { Digest } from '../../protocols/digest.ts'
import { geometryOf, MIN_PIECE_BYTES } from '../../protocols/pieces.ts'
import { codeOf, ShoalError } from '../errors.ts'
import type { OriginBody, OriginSource } from '../origin/origin.ts'
import type { Grant } from '../rendezvous/rendezvous.ts'
import type { BlobMeta, BlobWriter } from '../store/store.ts'
import type { Swarm } from '../transfer/transfer.ts'
import type { Bell } from './bell.ts'
import { type Adopted, retryAfterMs } from './importer.ts'
import type { Introduction } from './introduction.ts'
import { openWriter } from './open-writer.ts'
import type { Parts } from './parts.ts'
import type { Search } from './search.ts'

/** Holders asked, one after another, for the first piece before the size is known: a blob of one piece then takes one round trip. */
const MAX_EARLY_ASKS = 4
const EARLY_PATIENCE_MS = 100

export interface Found {
  readonly writer: BlobWriter
  readonly meta: BlobMeta | undefined
  /** Set when the origin gave it only to the client's own credentials. */
  readonly restrictedTo: string | undefined
  /** A first piece that came with the size. */
  readonly first: { readonly peerId: string; readonly bytes: Uint8Array } | undefined
  /** The size is the word of peers only. */
  readonly peersSaySo: boolean
  /** A grant that this node has, with the origin's answer. */
  readonly adopted: Adopted | undefined
}

export interface SizeQuestion {
  readonly digest: Digest
  readonly swarm: Swarm
  readonly parts: Parts
  readonly sources: readonly OriginSource[]
  readonly search: Search
  readonly introduction: Introduction
  /** Sizes that peers said and that turned out wrong. */
  readonly disproved: ReadonlySet<number>
  readonly bell: Bell
  readonly signal: AbortSignal
}

type First = { peerId: string; bytes: Uint8Array; size: number; mediaType: string | undefined }

/**
 * Learns how large a blob is and opens its writer: from what the store holds of it, from a peer, or from the origin when
 * peers had their chance. @throws ShoalError BLOB_UNKNOWN, ORIGIN_*, STORE_*
 */
export async function findSize(question: SizeQuestion): Promise<Found> {
  const { digest, parts, signal } = question
  const stored = await parts.store.open(digest)
  if (stored !== undefined) {
    const { geometry, meta } = stored
    await stored[Symbol.asyncDispose]()
    return found(await openWriter(parts.store, digest, geometry.size), { meta })
  }
  const early = new EarlyAsks(question)
  let originError: unknown
  for (;;) {
    signal.throwIfAborted()
    const first = early.pump()
    if (first !== undefined && !question.disproved.has(first.size)) {
      const meta = first.mediaType === undefined ? undefined : { mediaType: first.mediaType }
      return found(await openWriter(parts.store, digest, first.size), { meta, first, peersSaySo: true })
    }
    const told = toldSize(question)
    if (told !== undefined && !early.worthWaiting(told))
      return found(await openWriter(parts.store, digest, told), { peersSaySo: true })
    if (!early.pending && question.search.settled()) {
      const zoneSays = question.introduction.size
      if (zoneSays !== undefined && !question.disproved.has(zoneSays)) {
        return found(await openWriter(parts.store, digest, zoneSays), { peersSaySo: true })
      }
      for (const source of [...question.sources]) {
        if (!question.introduction.mayAsk(performance.now())) break
        try {
          const answer = await fromOrigin(question, source)
          if (answer !== undefined) return answer
          break
        } catch (error) {
          signal.throwIfAborted()
          originError = error
          parts.log.info({ digest: String(digest), code: codeOf(error) }, 'the origin does not give it')
        }
      }
      const later = toldSize(question) ?? question.introduction.size
      if (later === undefined && originError !== undefined) throw originError
      const hopeless = question.sources.length === 0 && question.search.over
      if (later === undefined && hopeless)
        throw new ShoalError('BLOB_UNKNOWN', `no peer holds ${digest}, and there is no origin to import it from`)
    }
    await question.bell.wait(signal)
  }
}

/** Asks the origin, if this node is the one to do it. */
async function fromOrigin(question: SizeQuestion, source: OriginSource): Promise<Found | undefined> {
  const { digest, parts, signal, introduction } = question
  const grant = await introduction.ask([0], undefined, { signal })
  if (grant === undefined) return undefined
  if (grant.size !== undefined) {
    // somebody has learnt it meanwhile
    return found(await openWriter(parts.store, digest, grant.size), {
      peersSaySo: true,
      adopted: { grant, source, body: undefined },
    })
  }
  try {
    return await openGranted(question, source, grant)
  } catch (error) {
    grant.end({ ok: false, retryAfterMs: retryAfterMs(error) })
    throw error
  }
}

async function openGranted(question: SizeQuestion, source: OriginSource, grant: Grant): Promise<Found> {
  const { digest, parts, signal } = question
  const { body, end } = await openPatiently(question, source, grant)
  const restrictedTo =
    source.type === 'registry' && body.usedAuthorization ? `${source.registry}/${source.repository}` : undefined
  const mediaType = source.type === 'registry' && source.kind === 'manifest' ? body.mediaType : undefined
  const meta: BlobMeta | undefined = mediaType === undefined ? undefined : { mediaType }
  try {
    if (body.size !== undefined) {
      if (end !== undefined && !body.ranged && body.size > end) grant.streams()
      grant.sized(body.size)
      return found(await openWriter(parts.store, digest, body.size), {
        meta,
        restrictedTo,
        adopted: { grant, source, body, end },
      })
    }
    grant.streams()
    const restricted = restrictedTo === undefined ? {} : { restrictedTo: [restrictedTo] }
    const options = { expected: digest, meta: { ...meta, ...restricted }, signal }
    const info = await parts.store.ingest(watched(body.body, grant), options)
    parts.metrics.downloaded('origin', info.size)
    grant.sized(info.size)
    for (let index = 0; index < geometryOf(info.size).pieces; index++) grant.progress(index, info.size)
    grant.end({ ok: true })
    return found(await openWriter(parts.store, digest, info.size), { meta, restrictedTo })
  } catch (error) {
    body.cancel()
    throw error
  }
}

/** Where nobody else wants it, as far as is known: a small blob is one request, and of a large one little is on its way when others come. */
const LONE_OPEN_BYTES = 1024 * 1024

/** A node without a zone asks for all there is in one request; in a crowd the first asks for no more than its share. */
function openEnd({ introduction }: SizeQuestion, { openBytes }: Grant): number | undefined {
  return introduction.alone && openBytes !== undefined ? Math.max(openBytes, LONE_OPEN_BYTES) : openBytes
}

async function* watched(body: AsyncIterable<Uint8Array>, grant: Grant): AsyncGenerator<Uint8Array> {
  for await (const chunk of body) {
    grant.alive()
    yield chunk
  }
}

const ATTEMPTS = 5
const FIRST_PAUSE_MS = 100
const PASSING = new Set(['ORIGIN_UNREACHABLE', 'ORIGIN_TIMEOUT', 'ORIGIN_FAILED', 'ORIGIN_RATE_LIMITED'])
/** What is waited for a rate limit in all: one that lasts longer is an answer, which the client should have now. */
const MAX_PATIENCE_MS = 5_000

interface Opened {
  readonly body: OriginBody
  /** Where what was asked for ends: others may have come since. */
  readonly end: number | undefined
}

/** A 503 or a cut is tried again a few times: nobody has been promised anything yet, but a pull should not die of a hiccup. */
async function openPatiently(question: SizeQuestion, source: OriginSource, grant: Grant): Promise<Opened> {
  let patienceMs = MAX_PATIENCE_MS
  for (let attempt = 1; ; attempt++) {
    try {
      const range = { start: 0, end: openEnd(question, grant) }
      const body = await question.parts.origin.open(source, question.digest, range, { signal: question.signal })
      return { body, end: range.end }
    } catch (error) {
      const code = codeOf(error)
      const pauseMs = retryAfterMs(error) ?? FIRST_PAUSE_MS * 2 ** (attempt - 1)
      patienceMs -= pauseMs
      const passes = code !== undefined && PASSING.has(code) && patienceMs >= 0 && !refused(error)
      if (attempt >= ATTEMPTS || !passes) throw error
      await pause(pauseMs, question)
      if (toldSize(question) !== undefined) throw error
    }
  }
}

/** Nothing listens there: asking again at once is no use. */
function refused(error: unknown): boolean {
  for (let e = error; e instanceof Error; e = e.cause) {
    if ('code' in e && (e.code === 'ECONNREFUSED' || e.code === 'ENOTFOUND')) return true
  }
  return false
}

async function pause(ms: number, { bell, signal }: SizeQuestion): Promise<void> {
  const until = performance.now() + ms
  const timer = setTimeout(() => bell.ring(), ms)
  try {
    while (performance.now() < until) await bell.wait(signal)
  } finally {
    clearTimeout(timer)
  }
}

/** What most neighbours say the size is: holders of the whole are believed before partial ones. */
function toldSize({ swarm, disproved }: SizeQuestion): number | undefined {
  for (const state of ['complete', 'partial'] as const) {
    const votes = new Map<number, number>()
    for (const { state: is, size } of swarm.neighbours()) {
      if (is === state && size !== undefined && !disproved.has(size)) votes.set(size, (votes.get(size) ?? 0) + 1)
    }
    if (votes.size > 0) return [...votes].sort((a, b) => b[1] - a[1])[0]?.[0]
  }
  return undefined
}

/** Asks known holders for the first piece before anybody has said how large the blob is. */
class EarlyAsks {
  readonly #question: SizeQuestion
  readonly #asked = new Set<string>()
  #open = 0
  #askedAt = 0
  #first: First | undefined

  constructor(question: SizeQuestion) {
    this.#question = question
  }

  get pending(): boolean {
    return this.#open > 0
  }

  /** A first piece that is on its way comes soon or not: a blob of several pieces has other ways to begin. */
  worthWaiting(size: number): boolean {
    return this.pending && (size <= MIN_PIECE_BYTES || performance.now() - this.#askedAt < EARLY_PATIENCE_MS)
  }

  pump(): First | undefined {
    const { swarm, search } = this.#question
    for (const { peer, state } of swarm.neighbours()) {
      if (this.#open > 0 || this.#asked.size >= MAX_EARLY_ASKS || this.#first !== undefined) break
      if (!search.holders.has(peer.id) || this.#asked.has(peer.id) || state === 'none' || state === 'failed') continue
      this.#asked.add(peer.id)
      void this.#ask(peer.id)
    }
    return this.#first
  }

  async #ask(peerId: string): Promise<void> {
    const { swarm, signal, bell, digest, parts } = this.#question
    this.#open++
    this.#askedAt = performance.now()
    const abort = new AbortController()
    const onAbort = () => abort.abort(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    let hurry: NodeJS.Timeout | undefined
    try {
      // how much will come is not known: it is paid for afterwards
      await parts.downloadLimit?.take(1, abort)
      // a holder that does not answer soon must not keep the others from being asked
      hurry = setTimeout(() => abort.abort(new ShoalError('PEER_TIMEOUT', 'no first piece in time')), 1_000)
      const into = new Uint8Array(MIN_PIECE_BYTES)
      const { length, size, mediaType } = await swarm.request(peerId, 0, into, { signal: abort.signal })
      parts.downloadLimit?.owe(length)
      this.#first ??= { peerId, bytes: into.subarray(0, length), size, mediaType }
    } catch (error) {
      // a piece too large for `into` is refused with the size told: that is an answer, not a stale record
      const told = swarm.neighbours().find((n) => n.peer.id === peerId)?.size !== undefined
      if (codeOf(error) === 'PEER_LACKS_PIECE' && !told) parts.discovery.forget(digest, peerId)
    } finally {
      clearTimeout(hurry)
      signal.removeEventListener('abort', onAbort)
      this.#open--
      bell.ring()
    }
  }
}

function found(writer: BlobWriter, rest: Partial<Omit<Found, 'writer'>>): Found {
  return { writer, peersSaySo: false, meta: undefined, restrictedTo: undefined, first: undefined, adopted: undefined, ...rest }
}
