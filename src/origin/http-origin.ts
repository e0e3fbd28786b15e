import { setTimeout as delay } from 'node:timers/promises'
import type { OriginPause } from '../../protocols/beacon/codec.ts'
import type { Digest } from '../../protocols/digest.ts'
import { codeOf, ShoalError } from '../../protocols/error.ts'
import { isRepositoryName, isTag } from '../../protocols/reference.ts'
import type { Log } from '../telemetry/log.ts'
import { readBody, readWhole } from './body.ts'
import type { CoolDowns, PausedOrigin } from './cool-down.ts'
import type { HttpAnswer, HttpClient } from './http.ts'
import { MAX_MANIFEST_BYTES, MAX_RELAYED_BYTES } from './limits.ts'
import { factsInBytes, factsInHeaders, mediaTypeIn } from './manifest-head.ts'
import type { ManifestHead, Origin, OriginBody, OriginSource, ZoneOrigin } from './origin.ts'
import { type AskedRange, type BodyPlace, placeOf, rangeHeader } from './place.ts'
import { shownUrl } from './redirect.ts'
import { failureOf } from './refusal.ts'
import type { RegistryAnswer, RegistryClient } from './registry.ts'
import { acceptedManifests, parseRelayPath, RELAYED_HEADERS } from './registry-paths.ts'
import { UrlClient } from './url.ts'

const WHOLE: AskedRange = Object.freeze({ start: 0 })
const TAG_ATTEMPTS = 4
const TAG_PAUSE_MS = 100

const FIRST_BYTE: AskedRange = Object.freeze({ start: 0, end: 1 })
const NOT_PERMITTED = new Set<unknown>(['ORIGIN_UNAUTHORIZED', 'ORIGIN_FORBIDDEN', 'ORIGIN_NOT_FOUND'])
/** Statuses of servers that do not do HEAD. */
const NO_HEAD = new Set([405, 501])

type Reference = Parameters<Origin['resolveTag']>[0]
type RelayRequest = Parameters<Origin['relay']>[0]
type Options = { readonly signal: AbortSignal }

/** The Origin contract over the registry client and plain HTTP. */
export class HttpOrigin implements ZoneOrigin {
  readonly #http: HttpClient
  readonly #registries: RegistryClient
  readonly #urls: UrlClient
  readonly #coolDowns: CoolDowns
  readonly #log: Log

  constructor(options: { http: HttpClient; registries: RegistryClient; coolDowns: CoolDowns; log: Log }) {
    this.#http = options.http
    this.#registries = options.registries
    this.#urls = new UrlClient(options.http, options.coolDowns, options.log)
    this.#coolDowns = options.coolDowns
    this.#log = options.log
  }

  async open(source: OriginSource, digest: Digest, range: AskedRange, options: Options): Promise<OriginBody> {
    if (!(range.start >= 0) || (range.end !== undefined && range.end <= range.start))
      throw new TypeError(`not a byte range: ${range.start}-${range.end}`)
    // Registries need not do ranges of manifests, and some answer them with an error.
    const isManifest = source.type === 'registry' && source.kind === 'manifest'
    const asked = isManifest ? WHOLE : range
    const { answer, usedAuthorization, challenge } = await this.#ask(source, digest, 'GET', asked, options)
    if (answer.status !== 200 && answer.status !== 206) throw await failureOf(answer, nameOf(source), challenge)
    const maxBytes = isManifest ? MAX_MANIFEST_BYTES : undefined
    const place = checkedPlace(answer, asked, maxBytes)
    const ranged = answer.status === 206
    const wantedBytes = !ranged || range.end === undefined ? undefined : range.end - place.start
    return {
      size: place.size,
      start: place.start,
      ranged,
      mediaType: mediaTypeIn(answer),
      usedAuthorization,
      body: readBody(answer, { length: place.length, maxBytes, wantedBytes }, options),
      cancel: () => void answer.body.destroy(),
    }
  }

  async resolveTag(reference: Reference, options: Options): Promise<ManifestHead> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#resolveTag(reference, options)
      } catch (error) {
        // a registry that hiccups is asked again: clients do not do it by themselves
        if (codeOf(error) !== 'ORIGIN_FAILED' || attempt >= TAG_ATTEMPTS) throw error
        await delay(TAG_PAUSE_MS * attempt, undefined, { signal: options.signal })
      }
    }
  }

  async #resolveTag(reference: Reference, options: Options): Promise<ManifestHead> {
    const { registry, repository, tag, authorization, via } = reference
    if (!isTag(tag)) throw new ShoalError('REFERENCE_INVALID', `not a tag: "${tag.slice(0, 100)}"`)
    const request = { registry, authorization, via, ...manifestRequest(repository, tag) }
    const head = await this.#registries.ask({ ...request, method: 'HEAD' }, options)
    const facts = head.answer.status === 200 ? factsInHeaders(head.answer) : undefined
    head.answer.discard()
    if (facts !== undefined) return { ...facts, usedAuthorization: head.usedAuthorization }
    if (head.answer.status !== 200 && !NO_HEAD.has(head.answer.status))
      throw await failureOf(head.answer, registry, head.challenge)

    const { answer, usedAuthorization, challenge } = await this.#registries.ask({ ...request, method: 'GET' }, options)
    if (answer.status !== 200) throw await failureOf(answer, registry, challenge)
    checkedPlace(answer, WHOLE, MAX_MANIFEST_BYTES)
    return { ...factsInBytes(answer, await readWhole(answer, MAX_MANIFEST_BYTES, options)), usedAuthorization }
  }

  async permits(source: OriginSource, digest: Digest, options: Options): Promise<boolean> {
    try {
      let reply = await this.#ask(source, digest, 'HEAD', WHOLE, options)
      // Where blobs are elsewhere, the address given is often good for GET only.
      const isElsewhere = !reply.answer.isFromHost && reply.answer.status >= 400
      if (isElsewhere || NO_HEAD.has(reply.answer.status)) {
        reply.answer.discard()
        reply = await this.#ask(source, digest, 'GET', FIRST_BYTE, options)
      }
      const { answer, challenge } = reply
      if (answer.status !== 200 && answer.status !== 206) throw await failureOf(answer, nameOf(source), challenge)
      answer.discard()
      return source.type === 'url' || isContent(answer, digest)
    } catch (error) {
      if (NOT_PERMITTED.has(codeOf(error))) return false
      throw error
    }
  }

  challenge(request: Parameters<Origin['challenge']>[0], options: Options): Promise<string | undefined> {
    return this.#registries.challenge(request, options)
  }

  async relay(request: RelayRequest, options: Options): ReturnType<Origin['relay']> {
    const { registry, authorization, via, accept } = request
    const { path, repository } = parseRelayPath(request.path)
    const headers = accept === undefined ? {} : { accept }
    const ask = { registry, repository, path, method: 'GET', headers, authorization, via } as const
    const { answer, challenge } = await this.#registries.ask(ask, options)
    const { status } = answer
    if (status === 401 || status === 403 || status >= 500) throw await failureOf(answer, registry, challenge)
    if (status === 200) checkedPlace(answer, WHOLE, MAX_RELAYED_BYTES)
    const kept = RELAYED_HEADERS.map((name) => [name, answer.header(name)] as const)
    return {
      status,
      headers: Object.fromEntries(kept.filter((entry): entry is [string, string] => entry[1] !== undefined)),
      body: readBody(answer, { maxBytes: MAX_RELAYED_BYTES }, options),
    }
  }

  heed(author: string, pause: OriginPause): void {
    const { origin, who, retryAfterMs } = pause
    if (this.#coolDowns.heed(author, pause))
      this.#log.info({ registry: origin, who, retryAfterMs, peerId: author }, 'a member of the zone says that it limits requests')
    else this.#log.debug({ registry: origin, peerId: author }, 'a member that says again that it limits requests is not believed')
  }

  paused(): readonly PausedOrigin[] {
    return this.#coolDowns.list()
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#http[Symbol.asyncDispose]()
  }

  async #ask(
    source: OriginSource,
    digest: Digest,
    method: 'GET' | 'HEAD',
    asked: AskedRange,
    options: Options,
  ): Promise<RegistryAnswer> {
    const range = rangeHeader(asked)
    const ranged: Record<string, string> = range === undefined ? {} : { range }
    if (source.type === 'url') return this.#urls.ask({ url: source.url, method, headers: ranged }, options)
    const { registry, repository, kind, authorization, via } = source
    if (kind === 'manifest')
      return this.#registries.ask(
        { registry, authorization, via, method, ...manifestRequest(repository, String(digest)) },
        options,
      )
    const path = `/v2/${checkedRepository(repository)}/blobs/${digest}`
    const bulk = method === 'GET'
    return this.#registries.ask({ registry, authorization, via, method, repository, path, headers: ranged, bulk }, options)
  }
}

function manifestRequest(repository: string, reference: string) {
  const path = `/v2/${checkedRepository(repository)}/manifests/${reference}`
  return { repository, path, headers: { accept: acceptedManifests } }
}

function checkedRepository(repository: string): string {
  if (isRepositoryName(repository)) return repository
  throw new ShoalError('REFERENCE_INVALID', `not a repository: "${repository.slice(0, 100)}"`)
}

/** Where the body lies; an answer that breaks the protocol is dropped. @throws ShoalError ORIGIN_PROTOCOL */
function checkedPlace(answer: HttpAnswer, asked: AskedRange, maxBytes = Number.POSITIVE_INFINITY): BodyPlace {
  try {
    const place = placeOf(answer, asked)
    if ((place.length ?? 0) <= maxBytes) return place
    throw new ShoalError('ORIGIN_PROTOCOL', `the origin announces ${place.length} bytes where at most ${maxBytes} may be`)
  } catch (error) {
    answer.discard()
    throw error
  }
}

/** Whether this can be the content: a log-in page that a redirect led to is none. */
function isContent(answer: HttpAnswer, digest: Digest): boolean {
  const said = answer.header('docker-content-digest')
  const contradicts = said?.startsWith(`${digest.algorithm}:`) === true && said !== String(digest)
  return !contradicts && mediaTypeIn(answer) !== 'text/html'
}

function nameOf(source: OriginSource): string {
  return source.type === 'url' ? shownUrl(source.url) : `${source.registry}/${source.repository}`
}
