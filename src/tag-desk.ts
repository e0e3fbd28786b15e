import type { TagQuestion } from '../protocols/tag/codec.ts'
import type { Clock } from './clock.ts'
import type { TagAsker, TagWord } from './discovery/vouch.ts'
import { codeOf, ShoalError } from './errors.ts'
import { BoundedMap } from './origin/bounded-map.ts'
import type { ManifestHead, Origin } from './origin/origin.ts'
import type { TagRecord, TagRecords } from './store/store.ts'
import type { Log } from './telemetry/log.ts'
import { TokenBucket } from './token-bucket.ts'

export type TagReference = Parameters<Origin['resolveTag']>[0]

/** How long a tag means what the registry last said (design 11). */
export const TAG_TTL_MS = 60_000

/** What a registry said, and how long ago. */
export type Heard = ManifestHead & { readonly ageMs: number }

const REGISTRY_MS = 10_000
/** Other members' questions that this node takes to registries, for each of them. */
const PER_MEMBER = Object.freeze({ burst: 32, refillMs: 500 })
/** A registry that did not say is not asked for others again so soon. */
const REFUSED_MS = 10_000
const MAX_REMEMBERED = 2_000

export interface TagDeskOptions {
  readonly origin: Pick<Origin, 'resolveTag'>
  readonly records: Pick<TagRecords, 'get' | 'set'>
  /** Whether it is for this node to ask the registry about a tag when this peer wants to know. */
  readonly resolvesFor: (peerId: string, name: string) => boolean
  readonly clock: Clock
  readonly wallClock: () => number
  readonly log: Log
}

/** Where this node asks registries what tags mean: for its own clients, and for the members of its zone whose resolver it is. */
export class TagDesk {
  readonly #options: TagDeskOptions
  readonly #flights = new Map<string, Promise<Heard>>()
  readonly #budgets = new BoundedMap<string, TokenBucket>(MAX_REMEMBERED)
  readonly #refusedUntil = new BoundedMap<string, number>(MAX_REMEMBERED)

  constructor(options: TagDeskOptions) {
    this.#options = options
  }

  /** Without credentials all who ask in one time-to-live share one question. @throws ShoalError as Origin.resolveTag, or the signal's reason */
  async ask(reference: TagReference, { signal }: { signal: AbortSignal }): Promise<Heard> {
    signal.throwIfAborted()
    if (reference.authorization !== undefined) return await this.#askRegistry(reference, signal)
    const aborted = Promise.withResolvers<never>()
    const onAbort = () => aborted.reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await Promise.race([this.#shared(reference), aborted.promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** For another member, who may want the registry to be asked. */
  async answer(question: TagQuestion, asker: TagAsker): Promise<TagWord> {
    const name = nameOf(question)
    const record = await this.#options.records.get(name)
    if (record?.restricted === true) return { known: false }
    const young = question.maxAgeMs === 0 || this.#ageMs(record) < question.maxAgeMs
    if (young || !this.#asksFor(asker.peerId, name)) return record === undefined ? { known: false } : this.#said(record)
    asker.soon()
    try {
      const { registry, repository, tag } = question
      const { digest, mediaType, size, ageMs } = await this.#shared({ registry, repository, tag })
      return { known: true, digest, mediaType, size, ageMs }
    } catch (error) {
      const { clock, log } = this.#options
      this.#refusedUntil.set(name, clock.now() + REFUSED_MS)
      log.debug({ tag: name, code: codeOf(error) }, 'the registry did not say what a tag means that a member asks about')
      return record === undefined ? { known: false } : this.#said(record)
    }
  }

  #asksFor(peerId: string, name: string): boolean {
    const now = this.#options.clock.now()
    if (!this.#options.resolvesFor(peerId, name) || (this.#refusedUntil.get(name) ?? 0) > now) return false
    if (this.#flights.has(name)) return true
    const budget = this.#budgets.get(peerId) ?? new TokenBucket()
    this.#budgets.set(peerId, budget)
    return budget.take(now, PER_MEMBER)
  }

  #shared(reference: TagReference): Promise<Heard> {
    const name = nameOf(reference)
    const known = this.#flights.get(name)
    if (known !== undefined) return known
    const flight = this.#fly(reference).finally(() => this.#flights.delete(name))
    flight.catch(() => {})
    this.#flights.set(name, flight)
    return flight
  }

  /** Several wait for it, so none of their signals ends it. */
  async #fly(reference: TagReference): Promise<Heard> {
    const { records, clock } = this.#options
    const record = await records.get(nameOf(reference))
    if (record?.restricted === false && this.#ageMs(record) < TAG_TTL_MS)
      return { ...this.#said(record), usedAuthorization: false }
    const late = new AbortController()
    const cancel = clock.after(REGISTRY_MS, () =>
      late.abort(new ShoalError('ORIGIN_TIMEOUT', `${reference.registry} did not answer within ${REGISTRY_MS / 1000} s`)),
    )
    try {
      return await this.#askRegistry(reference, late.signal)
    } finally {
      cancel()
    }
  }

  async #askRegistry(reference: TagReference, signal: AbortSignal): Promise<Heard> {
    const head = await this.#options.origin.resolveTag(reference, { signal })
    await this.#record(nameOf(reference), head)
    return { ...head, ageMs: 0 }
  }

  /** A store that can't record it must not fail the answer. */
  async #record(name: string, { digest, mediaType, size, usedAuthorization: restricted }: ManifestHead): Promise<void> {
    const { records, wallClock, log } = this.#options
    try {
      await records.set(name, { digest, mediaType, size, checkedAt: wallClock(), restricted })
    } catch (error) {
      log.warn({ tag: name, code: codeOf(error) }, 'the tag could not be recorded')
    }
  }

  #said(record: TagRecord): Extract<TagWord, { known: true }> {
    const { digest, mediaType, size } = record
    return { known: true, digest, mediaType, size, ageMs: this.#ageMs(record) }
  }

  /** A record from the future says nothing about now. */
  #ageMs(record: TagRecord | undefined): number {
    const ageMs = record === undefined ? Number.POSITIVE_INFINITY : this.#options.wallClock() - record.checkedAt
    return ageMs >= 0 ? ageMs : Number.POSITIVE_INFINITY
  }
}

/** As tags are recorded and told apart. */
export function nameOf({ registry, repository, tag }: Pick<TagReference, 'registry' | 'repository' | 'tag'>): string {
  return `${registry}/${repository}:${tag}`
}
