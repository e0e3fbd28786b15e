import { ShoalError } from '../../protocols/error.ts'
import { readWhole } from './body.ts'
import { BoundedMap } from './bounded-map.ts'
import type { TokenChallenge } from './challenge.ts'
import { rateLimited } from './cool-down.ts'
import { codeOfStatus, messageIn, parseRetryAfter, pauseScope } from './failure.ts'
import type { HttpAnswer, HttpClient, Reach } from './http.ts'
import { MAX_TOKEN_ANSWER_BYTES } from './limits.ts'
import { shownUrl } from './redirect.ts'

/** What a token server means when it does not say (distribution spec, "Token Authentication"). */
const DEFAULT_EXPIRY_S = 60
const MAX_EXPIRY_S = 3_600
const TOKEN = /^[\x21-\x7e]{1,16384}$/

export interface TokenRequest {
  readonly challenge: TokenChallenge
  readonly identity: { readonly key: string; readonly authorization: string | undefined }
  readonly reach: Reach
}

interface Entry {
  readonly token: Promise<string>
  /** Monotonic milliseconds; the end of time while it is being fetched. */
  usableUntil: number
}

/** Fetches tokens, once per (realm, service, scopes, identity), and keeps them as long as they are good. */
export class TokenClient {
  readonly #http: HttpClient
  readonly #timeoutMs: number
  readonly #entries = new BoundedMap<string, Entry>(1_000)

  constructor(http: HttpClient, timeoutMs: number) {
    this.#http = http
    this.#timeoutMs = timeoutMs
  }

  /**
   * @param refused a token that the registry did not take: never given again
   * @throws ShoalError ORIGIN_UNAUTHORIZED, ORIGIN_FORBIDDEN, ORIGIN_RATE_LIMITED, ORIGIN_FAILED, ORIGIN_PROTOCOL and whatever HttpClient.send throws
   */
  async get(request: TokenRequest, refused: string | undefined, options: { signal: AbortSignal }): Promise<string> {
    const { challenge, identity } = request
    const key = JSON.stringify([challenge.realm.href, challenge.service, challenge.scopes, identity.key])
    const known = this.#entries.get(key)
    if (known !== undefined && performance.now() < known.usableUntil) {
      const token = await unlessAborted(known.token, options.signal)
      if (token !== refused) return token
      if (this.#entries.get(key) === known) this.#entries.delete(key)
      return this.get(request, refused, options)
    }
    return unlessAborted(this.#start(key, request), options.signal)
  }

  #start(key: string, request: TokenRequest): Promise<string> {
    // Several callers share this, so none of their signals ends it.
    const fetched = this.#fetch(request, AbortSignal.timeout(this.#timeoutMs))
    const entry: Entry = { token: fetched.then(({ token }) => token), usableUntil: Number.POSITIVE_INFINITY }
    this.#entries.set(key, entry)
    fetched.then(
      ({ usableMs }) => {
        entry.usableUntil = performance.now() + usableMs
      },
      () => {
        if (this.#entries.get(key) === entry) this.#entries.delete(key)
      },
    )
    return entry.token
  }

  async #fetch({ challenge, identity, reach }: TokenRequest, signal: AbortSignal): Promise<{ token: string; usableMs: number }> {
    const url = new URL(challenge.realm)
    if (challenge.service !== undefined) url.searchParams.set('service', challenge.service)
    for (const scope of challenge.scopes) url.searchParams.append('scope', scope)
    try {
      const answer = await this.#http.send({ url, method: 'GET', authorization: identity.authorization, reach }, { signal })
      const text = (await readWhole(answer, MAX_TOKEN_ANSWER_BYTES, { signal })).toString('utf8')
      if (answer.status !== 200) throw refusal(answer, text)
      return parseToken(text, challenge.realm)
    } catch (error) {
      if (!signal.aborted || error instanceof ShoalError) throw error
      throw new ShoalError('ORIGIN_TIMEOUT', `the token server ${shownUrl(challenge.realm)} made no progress in time`, {
        cause: error,
      })
    }
  }
}

function refusal(answer: HttpAnswer, text: string): ShoalError {
  const said = messageIn(text)
  const where = `the token server ${shownUrl(answer.url)}`
  const code = codeOfStatus(answer.status)
  const retryAfter = answer.header('retry-after')
  if (pauseScope(answer.status, retryAfter) !== undefined)
    return rateLimited(where, parseRetryAfter(retryAfter, Date.now()), said)
  const isNo = code === 'ORIGIN_UNAUTHORIZED' || code === 'ORIGIN_FORBIDDEN'
  return new ShoalError(
    isNo ? code : 'ORIGIN_FAILED',
    `${where} answered with status ${answer.status}${said === '' ? '' : ` (${said})`}`,
    {
      detail: { status: answer.status },
    },
  )
}

/** @throws ShoalError ORIGIN_PROTOCOL */
function parseToken(text: string, realm: URL): { token: string; usableMs: number } {
  const answer = parseObject(text)
  const token = [answer?.token, answer?.access_token].find((value) => typeof value === 'string' && TOKEN.test(value))
  if (token === undefined) throw new ShoalError('ORIGIN_PROTOCOL', `the token server ${shownUrl(realm)} sent no token`)
  const said = answer?.expires_in
  const expiryS = typeof said === 'number' && said >= 0 ? Math.min(said, MAX_EXPIRY_S) : DEFAULT_EXPIRY_S
  return { token: token as string, usableMs: expiryS * 1000 - Math.min(expiryS * 200, 10_000) }
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

/** Waits for something shared, but no longer than this caller wants to. */
async function unlessAborted<T>(shared: Promise<T>, signal: AbortSignal): Promise<T> {
  signal.throwIfAborted()
  const { promise, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([shared, promise])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}
