import type { Readable } from 'node:stream'
import { Agent, type Dispatcher } from 'undici'
import { ShoalError } from '../../protocols/error.ts'
import { addressIn, notPublic, publicLookup, type Resolver } from './address.ts'
import { isStaleConnection, transportFailure } from './failure.ts'
import type { HostLimits } from './host-limits.ts'
import { MAX_HEADER_BYTES, type ORIGIN_DEFAULTS } from './limits.ts'
import { isRedirect, isSameHost, redirectTarget, shownUrl } from './redirect.ts'

/** `any`: the operator named it. `public`: a stranger did, so only the public internet. */
export type Reach = 'any' | 'public'

export interface HttpRequest {
  readonly url: URL
  readonly method: 'GET' | 'HEAD'
  readonly headers?: Readonly<Record<string, string>>
  /** For the host of `url`: no other ever gets it. */
  readonly authorization?: string | undefined
  /** The `Via` of the request that this one is made for. */
  readonly via?: string | undefined
  readonly reach: Reach
  /** Whether the body is a blob: those have connections of their own, so that small requests never wait for them. */
  readonly bulk?: boolean
  /** Called when its turn has come, which may be long after it was made: throws if it is not to be sent any more. */
  readonly check?: () => void
}

/** An answer whose body is to be read, or dropped with `discard`. */
export interface HttpAnswer {
  readonly status: number
  readonly url: URL
  /** Whether it came from the host that was asked, and not from another that this one redirected to. */
  readonly isFromHost: boolean
  readonly body: Readable
  /** Repeated headers are joined with a comma. */
  header(name: string): string | undefined
  /** Frees the connection, and keeps it when little is left to read. */
  discard(): void
  /** To be called with the bytes that were read, and waited for before more are: what keeps the body to its rate. */
  pace?(bytes: number, options: { signal: AbortSignal }): Promise<void> | undefined
}

/** For answers whose last bytes are still coming when another has their place. */
const SPARE_SOCKETS = 8

export interface HttpOptions extends Readonly<Record<keyof typeof ORIGIN_DEFAULTS, number>> {
  readonly limits: HostLimits
  readonly resolver: Resolver
  readonly userAgent: string
  /** What this node calls itself in `Via`. */
  readonly via?: string | undefined
}

const DISCARD_BYTES = 64 * 1024
const DISCARD_TIMEOUT_MS = 2_000

/** GET and HEAD with redirects, deadlines and bounded connections. */
export class HttpClient implements AsyncDisposable {
  readonly #options: HttpOptions
  readonly #agents = new Map<string, Agent>()

  constructor(options: HttpOptions) {
    this.#options = options
  }

  /**
   * Waits for a place at the host, follows redirects and resolves with the headers of the last answer, whatever its status.
   * @throws ShoalError ORIGIN_REDIRECT, ORIGIN_UNREACHABLE, ORIGIN_TIMEOUT, ORIGIN_PROTOCOL, ACCESS_DENIED, NODE_CLOSED, or the signal's reason
   */
  async send(request: HttpRequest, options: { signal: AbortSignal }): Promise<HttpAnswer> {
    const { limits } = this.#options
    const { host } = request.url
    const requests = request.bulk === true ? 'bulk' : 'small'
    const leave = await limits.enter(host, requests, options)
    try {
      request.check?.()
      const answer = await this.#follow(request, options)
      // a refusal is read at once, or not at all
      if (answer.status >= 300 || request.method === 'HEAD') {
        leave()
        return answer
      }
      answer.body.once('close', leave)
      const discard = () => {
        leave()
        answer.discard()
      }
      return { ...answer, discard, pace: (bytes, options) => limits.pace(host, requests, bytes, options) }
    } catch (error) {
      leave()
      throw error
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#agents.values()].map((agent) => agent.destroy()))
  }

  async #follow(request: HttpRequest, options: { signal: AbortSignal }): Promise<HttpAnswer> {
    const visited = new Set([request.url.href])
    let { url, authorization } = request
    while (true) {
      const answer = await this.#exchange({ ...request, url, authorization }, options.signal)
      if (!isRedirect(answer.status)) return { ...answer, isFromHost: isSameHost(request.url, url) }
      answer.discard()
      const target = redirectTarget(url, answer.header('location'), visited, this.#options.maxRedirects)
      if (!isSameHost(url, target)) authorization = undefined
      visited.add(target.href)
      url = target
    }
  }

  async #exchange(request: HttpRequest, signal: AbortSignal): Promise<HttpAnswer> {
    signal.throwIfAborted()
    const { url, reach } = request
    const address = addressIn(url)
    if (reach === 'public' && address !== undefined && !this.#options.resolver.isPublic(address)) throw notPublic(url.host)
    try {
      const response = await this.#dispatch(request, signal).catch((error: unknown) => {
        if (signal.aborted || !isStaleConnection(error)) throw error
        return this.#dispatch(request, signal)
      })
      return answerOf(url, response)
    } catch (error) {
      signal.throwIfAborted()
      throw error instanceof ShoalError ? error : transportFailure(error, shownUrl(url))
    }
  }

  #dispatch(request: HttpRequest, signal: AbortSignal): Promise<Dispatcher.ResponseData> {
    const { url, method, authorization } = request
    return this.#agent(request.reach, request.bulk === true).request({
      origin: url.origin,
      path: `${url.pathname}${url.search}`,
      method,
      headers: {
        'user-agent': this.#options.userAgent,
        accept: '*/*',
        ...request.headers,
        ...viaHeader(request.via, this.#options.via),
        'accept-encoding': 'identity',
        ...(authorization === undefined ? {} : { authorization }),
      },
      signal,
    })
  }

  #agent(reach: Reach, bulk: boolean): Agent {
    const { connectTimeoutMs, headerTimeoutMs, progressTimeoutMs, limits, resolver } = this.#options
    const key = `${reach} ${bulk}`
    const known = this.#agents.get(key)
    if (known !== undefined) return known
    const agent = new Agent({
      connections: limits.maxRequests + SPARE_SOCKETS,
      pipelining: 1,
      // One connection would carry all transfers, and its flow control would make a slow reader hold up the others.
      allowH2: false,
      headersTimeout: headerTimeoutMs,
      bodyTimeout: progressTimeoutMs,
      maxHeaderSize: MAX_HEADER_BYTES,
      keepAliveTimeout: 15_000,
      connect: { timeout: connectTimeoutMs, lookup: reach === 'public' ? publicLookup(resolver) : resolver.lookup },
    })
    this.#agents.set(key, agent)
    return agent
  }
}

/** The chain so far and our own name at its end (RFC 9110, 7.6.3). */
function viaHeader(chain: string | undefined, own: string | undefined): { via?: string } {
  const all = [...(chain === undefined ? [] : [chain]), ...(own === undefined ? [] : [`1.1 ${own}`])]
  return all.length === 0 ? {} : { via: all.join(', ') }
}

function answerOf(url: URL, { statusCode, headers, body }: Dispatcher.ResponseData): HttpAnswer {
  // An error nobody listens to would end the process; whoever reads the body gets it from the iteration.
  body.on('error', () => {})
  return {
    status: statusCode,
    url,
    isFromHost: true,
    body,
    header(name) {
      const value = headers[name]
      return Array.isArray(value) ? value.join(', ') : value
    },
    discard() {
      body.dump({ limit: DISCARD_BYTES, signal: AbortSignal.timeout(DISCARD_TIMEOUT_MS) }).catch(() => {})
    },
  }
}
