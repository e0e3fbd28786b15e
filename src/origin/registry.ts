import { codeOf, ShoalError } from '../../protocols/error.ts'
import type { Log } from '../telemetry/log.ts'
import { addressIn, isLoopbackUrl, notPublic, type Resolver } from './address.ts'
import { Authorizer } from './auth.ts'
import { BoundedMap } from './bounded-map.ts'
import { type Asker, type CoolDowns, rateLimited } from './cool-down.ts'
import { parseRetryAfter, pauseScope } from './failure.ts'
import type { HttpAnswer, HttpClient } from './http.ts'
import { type Identity, identities } from './identity.ts'
import { excerptOf, failureOf } from './refusal.ts'
import { TokenClient } from './tokens.ts'
import { createUpstreams, type Upstream } from './upstreams.ts'

export interface RegistryRequest {
  readonly registry: string
  readonly repository: string
  /** Under the registry's base, with its query: `/v2/…`. */
  readonly path: string
  readonly method: 'GET' | 'HEAD'
  readonly headers?: Readonly<Record<string, string>>
  readonly authorization?: string | undefined
  readonly via?: string | undefined
  readonly bulk?: boolean
}

/** A registry's last word. */
export interface RegistryAnswer {
  readonly answer: HttpAnswer
  /** Whether it was said to the client's credentials. */
  readonly usedAuthorization: boolean
  /** Its `WWW-Authenticate`, where credentials would be the remedy. */
  readonly challenge: string | undefined
}

const DENIALS = new Set([401, 403, 404])
/** What nobody may have to be told, when the client can still ask for itself. */
const NEXT_MAY_DO = new Set<unknown>(['ORIGIN_UNAUTHORIZED', 'ORIGIN_FORBIDDEN', 'ORIGIN_RATE_LIMITED'])
/** How long a repository that gave nothing without the client's credentials is asked with them at once. */
const PRIVATE_MS = 60_000

/** Asks registries, as nobody first and as the client when that is not enough. */
export class RegistryClient {
  readonly #http: HttpClient
  readonly #authorizer: Authorizer
  readonly #upstreams: ReturnType<typeof createUpstreams>
  readonly #resolver: Resolver
  readonly #log: Log
  readonly #coolDowns: CoolDowns
  readonly #privateUntil = new BoundedMap<string, number>(1_000)

  constructor(options: {
    http: HttpClient
    coolDowns: CoolDowns
    upstreams: ReadonlyMap<string, URL>
    resolver: Resolver
    tokenTimeoutMs: number
    log: Log
  }) {
    const { http, coolDowns, resolver, log } = options
    this.#http = http
    this.#coolDowns = coolDowns
    this.#resolver = resolver
    this.#log = log
    this.#upstreams = createUpstreams(options.upstreams)
    this.#authorizer = new Authorizer({ tokens: new TokenClient(http, options.tokenTimeoutMs), resolver, log })
  }

  /**
   * Resolves with the answer for the first identity that is let in, or else the last refusal.
   * @throws ShoalError ACCESS_DENIED, REFERENCE_INVALID, ORIGIN_RATE_LIMITED, and the HTTP client's and the authorizer's
   */
  async ask(request: RegistryRequest, options: { signal: AbortSignal }): Promise<RegistryAnswer> {
    const upstream = this.#allowed(request.registry)
    const [first, client] = identities(upstream.authorization, request.authorization) as [Identity, Identity | undefined]
    if (client === undefined) return this.#askAs(first, upstream, request, options)
    const privateKey = `${upstream.base.href} ${request.repository}`
    if ((this.#privateUntil.get(privateKey) ?? 0) > performance.now()) return this.#askAs(client, upstream, request, options)

    const [asFirst] = await Promise.allSettled([this.#askAs(first, upstream, request, options)])
    if (!isDenied(asFirst)) return settle(asFirst)
    const [asClient] = await Promise.allSettled([this.#askAs(client, upstream, request, options)])
    // What is not there for anybody is not there, whatever is said of the client's credentials.
    const isMissing = statusOf(asFirst) === 404 && isDenied(asClient)
    discard(isMissing ? asClient : asFirst)
    if (isPrivate(asFirst) && !isDenied(asClient)) this.#privateUntil.set(privateKey, performance.now() + PRIVATE_MS)
    return settle(isMissing ? asFirst : asClient)
  }

  /**
   * The challenge of the registry's `/v2/` to nobody, or to exactly these credentials; `undefined` when it lets them in.
   * @throws ShoalError as `ask`; ORIGIN_FAILED and the like for other refusals
   */
  async challenge(
    { registry, authorization, via }: { registry: string; authorization?: string | undefined; via?: string | undefined },
    options: { signal: AbortSignal },
  ): Promise<string | undefined> {
    const upstream = this.#allowed(registry)
    if (upstream.authorization !== undefined) return undefined
    const identity = identities(undefined, authorization).at(-1) as Identity
    const asker = askerOf(upstream, identity)
    this.#coolDowns.check(asker)
    const request = { registry, repository: '', path: '/v2/', method: 'GET', via } as const
    const answer = await this.#send(asker, upstream, request, identity.authorization, options)
    await this.#mindPause(asker, answer)
    const challenge = answer.isFromHost ? answer.header('www-authenticate') : undefined
    if (answer.status !== 401 && answer.status >= 300) throw await failureOf(answer, registry)
    answer.discard()
    return answer.status === 401 ? challenge : undefined
  }

  #allowed(registry: string): Upstream {
    const upstream = this.#upstreams.find(registry)
    const address = addressIn(upstream.base)
    const isPublic = address === undefined ? !isLoopbackUrl(upstream.base) : this.#resolver.isPublic(address)
    if (!upstream.configured && !isPublic) throw notPublic(registry)
    return upstream
  }

  async #askAs(
    identity: Identity,
    upstream: Upstream,
    request: RegistryRequest,
    options: { signal: AbortSignal },
  ): Promise<RegistryAnswer> {
    const asker = askerOf(upstream, identity)
    this.#coolDowns.check(asker)
    const subject = { upstream, repository: request.repository, identity }
    const first = await this.#authorizer.first(subject, options).catch((error: unknown) => this.#mindTokenServer(asker, error))
    let answer = await this.#send(asker, upstream, request, first, options)
    const challenge = answer.status === 401 && answer.isFromHost ? answer.header('www-authenticate') : undefined
    if (challenge !== undefined) {
      const better = await this.#authorizer.answer(challenge, subject, first, options).catch((error: unknown) => {
        answer.discard()
        return this.#mindTokenServer(asker, error)
      })
      if (better !== undefined) {
        answer.discard()
        answer = await this.#send(asker, upstream, request, better, options)
      }
    }
    this.#log.debug(
      { registry: upstream.name, path: request.path, method: request.method, as: identity.name, status: answer.status },
      'asked the registry',
    )
    await this.#mindPause(asker, answer)
    const isNobody = identity.name === 'nobody' && answer.isFromHost
    return {
      answer,
      usedAuthorization: identity.name === 'client',
      challenge:
        challenge ?? (isNobody && answer.status === 403 ? this.#authorizer.asked(upstream, request.repository) : undefined),
    }
  }

  #send(
    asker: Asker,
    upstream: Upstream,
    request: RegistryRequest,
    authorization: string | undefined,
    options: { signal: AbortSignal },
  ): Promise<HttpAnswer> {
    const check = () => this.#coolDowns.check(asker)
    const { method, headers = {}, via, bulk = false } = request
    const url = new URL(upstream.base)
    url.href = `${url.href.replace(/\/$/, '')}${request.path}`
    const reach = upstream.configured ? 'any' : 'public'
    return this.#http.send({ url, method, headers, authorization, via, reach, bulk, check }, options)
  }

  /** @throws ShoalError ORIGIN_RATE_LIMITED when the answer asks to be left alone */
  async #mindPause(asker: Asker, answer: HttpAnswer): Promise<void> {
    const retryAfter = answer.header('retry-after')
    const scope = pauseScope(answer.status, retryAfter)
    if (scope === undefined) return
    const retryAfterMs = parseRetryAfter(retryAfter, Date.now())
    this.#coolDowns.start(asker, scope, retryAfterMs)
    this.#log.info({ registry: asker.origin, retryAfterMs }, 'the registry limits requests, not asked again before')
    throw rateLimited(asker.origin, retryAfterMs, await excerptOf(answer))
  }

  /** A registry whose token server asks to be left alone has nothing to give meanwhile. @throws the error */
  #mindTokenServer(asker: Asker, error: unknown): never {
    const retryAfterMs = error instanceof ShoalError ? error.detail?.retryAfterMs : undefined
    if (typeof retryAfterMs === 'number') {
      this.#coolDowns.start(asker, 'asker', retryAfterMs)
      this.#log.info({ registry: asker.origin, retryAfterMs }, 'its token server limits requests, not asked again before')
    }
    throw error
  }
}

function askerOf({ name, base }: Upstream, identity: Identity): Asker {
  const who = identity.name === 'service' ? 'operator' : identity.name
  return { origin: name, host: base.host, who, key: identity.key }
}

type Attempt = PromiseSettledResult<RegistryAnswer>

function statusOf(attempt: Attempt): number | undefined {
  return attempt.status === 'fulfilled' ? attempt.value.answer.status : undefined
}

/** Whether somebody else may be let in. */
function isDenied(attempt: Attempt): boolean {
  if (attempt.status === 'rejected') return NEXT_MAY_DO.has(codeOf(attempt.reason))
  return DENIALS.has(attempt.value.answer.status)
}

/** Whether this was refused for who asked. */
function isPrivate(attempt: Attempt): boolean {
  if (attempt.status === 'rejected') return codeOf(attempt.reason) !== 'ORIGIN_RATE_LIMITED'
  return attempt.value.answer.status !== 404
}

function settle(attempt: Attempt): RegistryAnswer {
  if (attempt.status === 'rejected') throw attempt.reason
  return attempt.value
}

function discard(attempt: Attempt): void {
  if (attempt.status === 'fulfilled') attempt.value.answer.discard()
}
