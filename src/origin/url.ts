import type { Log } from '../telemetry/log.ts'
import { type Asker, type CoolDowns, rateLimited } from './cool-down.ts'
import { parseRetryAfter, pauseScope } from './failure.ts'
import type { HttpClient } from './http.ts'
import { type Identity, identities } from './identity.ts'
import { shownUrl } from './redirect.ts'
import { excerptOf } from './refusal.ts'
import type { RegistryAnswer } from './registry.ts'
import { basicOf } from './upstreams.ts'

/** Asks any HTTP(S) server that the operator or the node's own code named: such a URL may be anywhere. */
export class UrlClient {
  readonly #http: HttpClient
  readonly #log: Log
  readonly #coolDowns: CoolDowns

  constructor(http: HttpClient, coolDowns: CoolDowns, log: Log) {
    this.#http = http
    this.#coolDowns = coolDowns
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
    const { key } = identities(undefined, authorization).at(-1) as Identity
    const who = authorization === undefined ? 'nobody' : 'client'
    const asker: Asker = { origin: url.host, host: url.host, who, key }
    const check = () => this.#coolDowns.check(asker)
    check()
    const sent = { url, method, headers, authorization, reach: 'any', bulk: method === 'GET', check } as const
    const answer = await this.#http.send(sent, options)
    this.#log.debug({ url: shownUrl(url), method, status: answer.status }, 'asked the origin')
    const retryAfter = answer.header('retry-after')
    const scope = pauseScope(answer.status, retryAfter)
    if (scope !== undefined) {
      const retryAfterMs = parseRetryAfter(retryAfter, Date.now())
      this.#coolDowns.start(asker, scope, retryAfterMs)
      this.#log.info({ url: shownUrl(url), retryAfterMs }, 'the origin limits requests, not asked again before')
      throw rateLimited(url.host, retryAfterMs, await excerptOf(answer))
    }
    return { answer, usedAuthorization: authorization !== undefined, challenge: answer.header('www-authenticate') }
  }
}
