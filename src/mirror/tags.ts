import { codeOf, type ErrorCode } from '../errors.ts'
import type { Authorization, ManifestHead, Via } from '../origin/origin.ts'
import type { TagRecord } from '../store/store.ts'
import type { Log } from '../telemetry/log.ts'
import type { ResolvedWord } from '../zone-tags.ts'
import type { Access } from './access.ts'
import { within } from './deadline.ts'
import { ExpiringMap } from './expiring-map.ts'
import type { MirrorBackend } from './mirror.ts'
import { SingleFlight } from './single-flight.ts'

export interface TagReference {
  readonly registry: string
  readonly repository: string
  readonly tag: string
  readonly authorization: Authorization | undefined
  readonly via?: Via | undefined
}

/** What a tag means for one client. */
export interface ResolvedTag extends Pick<ManifestHead, 'digest' | 'mediaType' | 'size'> {
  /** Set when it is not upstream's word of now: what to tell the client. */
  readonly warning: string | undefined
}

export interface TagsOptions {
  readonly backend: MirrorBackend
  readonly access: Access
  readonly tagTtlMs: number
  readonly log: Log
  /** Monotonic and wall-clock milliseconds. */
  readonly now: () => number
  readonly wallClock: () => number
}

/** The zone's resolver has its time first, and then the registry. */
const UPSTREAM_TIMEOUT_MS = 20_000
const PEERS_TIMEOUT_MS = 3_000
/** How long an identity that upstream accepted for a private tag may be served the stale one. */
const GRANT_MS = 5 * 60_000
const STALE_MAX_MS = 30 * 24 * 3600_000
const NEGATIVE_MS = 10_000
/** After upstream failed: how long its failure, or what stood in for it, is the answer. */
const FAILURE_MS = 2_000
const STAND_IN_MS = 10_000
const MAX_ENTRIES = 20_000

/** Upstream's own No: nothing stands in for it. */
const NO: ReadonlySet<ErrorCode | undefined> = new Set([
  'ORIGIN_UNAUTHORIZED',
  'ORIGIN_FORBIDDEN',
  'ORIGIN_NOT_FOUND',
  'REFERENCE_INVALID',
])

type Outcome = { readonly resolved: ResolvedTag } | { readonly error: unknown }

/**
 * What tags mean: upstream's word, asked by HEAD at most once per `tagTtlMs` and identity, or once for the whole zone where it tells
 * anybody. What upstream told one client is told to another only if it tells it to anybody. While upstream is down or limits, the
 * last word stands in, then a peer's.
 *
 * What a peer's word trusts then: any member of this mesh can then decide which image a tag means here, until upstream answers again. It can't
 * alter an image (every byte is checked against the digest), but it can name an older or a different one. The answer carries a
 * `Warning`, it is never recorded, and clients that pull by digest never depend on it.
 */
export class Tags {
  readonly #options: TagsOptions
  readonly #recent: ExpiringMap<Outcome>
  readonly #grants: ExpiringMap<true>
  readonly #flights = new SingleFlight<ResolvedTag>()

  constructor(options: TagsOptions) {
    this.#options = options
    this.#recent = new ExpiringMap(MAX_ENTRIES, options.now)
    this.#grants = new ExpiringMap(MAX_ENTRIES, options.now)
  }

  /** @throws ShoalError as Origin.resolveTag */
  async resolve(reference: TagReference, options: { signal: AbortSignal }): Promise<ResolvedTag> {
    const name = `${reference.registry}/${reference.repository}:${reference.tag}`
    const key = `${this.#options.access.identity(reference.authorization)} ${name}`
    const recent = this.#recent.get(key)
    if (recent !== undefined) return outcome(recent)
    return await this.#flights.run(key, () => this.#resolve(reference, name, key), options)
  }

  async #resolve(reference: TagReference, name: string, key: string): Promise<ResolvedTag> {
    const { backend, tagTtlMs, wallClock } = this.#options
    const record = await backend.tags.get(name)
    const ageMs = record === undefined ? Number.POSITIVE_INFINITY : wallClock() - record.checkedAt
    if (record !== undefined && !record.restricted && ageMs >= 0 && ageMs < tagTtlMs) return said(record)
    let head: ResolvedWord
    try {
      head = await within(UPSTREAM_TIMEOUT_MS, reference.registry, (signal) => backend.resolveTag(reference, { signal }))
    } catch (error) {
      return outcome(await this.#withoutUpstream(error, reference, name, key, record))
    }
    if (head.usedAuthorization) this.#grants.set(key, true, GRANT_MS)
    this.#recent.set(key, { resolved: said(head) }, tagTtlMs - head.ageMs)
    return said(head)
  }

  async #withoutUpstream(
    error: unknown,
    reference: TagReference,
    name: string,
    key: string,
    record: TagRecord | undefined,
  ): Promise<Outcome> {
    if (NO.has(codeOf(error))) {
      this.#grants.delete(key)
      if (codeOf(error) === 'ORIGIN_NOT_FOUND' && record?.restricted === false) await this.#options.backend.tags.delete(name)
      return this.#keep(key, { error }, NEGATIVE_MS)
    }
    const stale = this.#stale(record, key, reference.registry) ?? (await this.#vouched(reference))
    if (stale === undefined) return this.#keep(key, { error }, FAILURE_MS)
    this.#options.log.warn({ tag: name, code: codeOf(error), digest: String(stale.digest) }, stale.warning)
    return this.#keep(key, { resolved: stale }, STAND_IN_MS)
  }

  #keep(key: string, value: Outcome, lifeMs: number): Outcome {
    this.#recent.set(key, value, lifeMs)
    return value
  }

  #stale(record: TagRecord | undefined, key: string, registry: string): ResolvedTag | undefined {
    if (record === undefined || (record.restricted && this.#grants.get(key) === undefined)) return undefined
    const ageMs = this.#options.wallClock() - record.checkedAt
    if (ageMs > STALE_MAX_MS) return undefined
    const warning = `${registry} does not answer: this tag is as it was ${seconds(ageMs)} s ago`
    return { ...said(record), warning }
  }

  async #vouched(reference: TagReference): Promise<ResolvedTag | undefined> {
    const { registry, repository, tag } = reference
    try {
      const question = { registry, repository, tag, maxAgeMs: 0 }
      const given = await within(PEERS_TIMEOUT_MS, 'peers', (signal) => this.#options.backend.askTag(question, { signal }))
      if (given?.answer.known !== true || given.answer.ageMs > STALE_MAX_MS) return undefined
      const warning = `${registry} does not answer: this tag is as peer ${given.peerId} saw it ${seconds(given.answer.ageMs)} s ago`
      return { ...said(given.answer), warning }
    } catch (error) {
      this.#options.log.debug({ code: codeOf(error) }, 'no peer vouches for the tag')
      return undefined
    }
  }
}

function said({ digest, mediaType, size }: Pick<ManifestHead, 'digest' | 'mediaType' | 'size'>): ResolvedTag {
  return { digest, mediaType, size, warning: undefined }
}

function outcome(of: Outcome): ResolvedTag {
  if ('error' in of) throw of.error
  return of.resolved
}

function seconds(ms: number): number {
  return Math.max(0, Math.round(ms / 1000))
}
