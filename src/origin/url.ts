import type { Log } from '../telemetry/log.ts'
import { CoolDowns, rateLimited } from './cool-down.ts'
import { parseRetryAfter } from './failure.ts'
import type { HttpClient } from './http.ts'
import { shownUrl } from './redirect.ts'
import { excerptOf } from './refusal.ts'
import type { RegistryAnswer } from './registry.ts'
import { basicOf } from './upstreams.ts'

/** Asks any HTTP(S) server that the operator or the node's own code named: such a URL may be anywhere. */
export class UrlClient {
  readonly #http: HttpClient
  readonly #log: Log
  readonly #coolDowns = new CoolDowns()

  constructor(http: HttpClient, log: Log) {
    this.#http = http
    this.#log = log
  }

  /** Credentials in the URL count as the caller's own. @throws ShoalError ORIGIN_RATE_LIMITED and the HTTP client's */
  async ask(
    request: { readonly url: URL; readonly method: 'GET' | 'HEAD'; readonly headers: Readonly<Record<string, string>> },
    options: { signal: AbortSignal },
  ): Promise<RegistryAnswer> {
    const { method, headers } = request
    const authorization = basicOf(request.url)
    const url = new URL(request.url)
    url.username = ''
    url.password = ''
    url.hash = ''
    this.#coolDowns.check(url.origin, url.host, performance.now())
    const answer = await this.#http.send({ url, method, headers, authorization, reach: 'any', bulk: method === 'GET' }, options)
    this.#log.debug({ url: shownUrl(url), method, status: answer.status }, 'asked the origin')
    if (answer.status === 429) {
      const retryAfterMs = parseRetryAfter(answer.header('retry-after'), Date.now())
      this.#coolDowns.start(url.origin, retryAfterMs, performance.now())
      throw rateLimited(url.host, retryAfterMs, await excerptOf(answer))
    }
    return { answer, usedAuthorization: authorization !== undefined, challenge: answer.header('www-authenticate') }
  }
}
