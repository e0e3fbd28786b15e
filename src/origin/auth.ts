import { codeOf, ShoalError } from '../../protocols/error.ts'
import type { Log } from '../telemetry/log.ts'
import { addressIn, isLoopbackUrl, type Resolver } from './address.ts'
import { BoundedMap } from './bounded-map.ts'
import { parseChallenges, type UsableChallenge, usableChallenge } from './challenge.ts'
import type { Reach } from './http.ts'
import { type Identity, isBasic } from './identity.ts'
import { realmProblem } from './realm.ts'
import { shownUrl } from './redirect.ts'
import type { TokenClient } from './tokens.ts'
import type { Upstream } from './upstreams.ts'

/** For whom, and for what. */
export interface AuthSubject {
  readonly upstream: Upstream
  readonly repository: string
  readonly identity: Identity
}

/** A challenge, and the header it was read from. */
interface Asked {
  readonly challenge: UsableChallenge
  readonly header: string
}

/** Turns an identity into the `Authorization` that a registry takes for a repository. */
export class Authorizer {
  readonly #tokens: TokenClient
  readonly #resolver: Resolver
  readonly #log: Log
  /** What each repository asked for last: so that its next request carries the answer. */
  readonly #asked = new BoundedMap<string, Asked>(1_000)

  constructor(options: { tokens: TokenClient; resolver: Resolver; log: Log }) {
    this.#tokens = options.tokens
    this.#resolver = options.resolver
    this.#log = options.log
  }

  /** What to send before having been asked; `undefined` for nothing. @throws as `answer` */
  async first(subject: AuthSubject, options: { signal: AbortSignal }): Promise<string | undefined> {
    const { authorization, name } = subject.identity
    if (authorization !== undefined && !isBasic(authorization)) return authorization
    const asked = this.#asked.get(keyOf(subject))
    if (asked !== undefined) return this.#respond(asked, subject, undefined, options)
    // A registry that hides what is private behind 403 or 404 never asks: the client is second then, and this is its turn.
    return name === 'client' ? authorization : undefined
  }

  /** What this repository asked for last, if it ever asked: its `WWW-Authenticate`. */
  asked(upstream: Upstream, repository: string): string | undefined {
    return this.#asked.get(keyOf({ upstream, repository }))?.header
  }

  /**
   * What to send instead of `sent`, which got this challenge; `undefined` when there is nothing better.
   * @throws ShoalError ORIGIN_PROTOCOL (a realm that may not have these credentials), ORIGIN_UNAUTHORIZED (detail.challenge: the
   * token server says no) and what else the token client throws
   */
  async answer(
    header: string | undefined,
    subject: AuthSubject,
    sent: string | undefined,
    options: { signal: AbortSignal },
  ): Promise<string | undefined> {
    const challenge = usableChallenge(parseChallenges(header), subject.repository)
    if (challenge === undefined || header === undefined) return undefined
    const asked = { challenge, header }
    this.#asked.set(keyOf(subject), asked)
    const { authorization } = subject.identity
    if (authorization !== undefined && !isBasic(authorization)) return undefined
    const better = await this.#respond(asked, subject, sent, options)
    return better === sent ? undefined : better
  }

  async #respond(
    { challenge, header }: Asked,
    subject: AuthSubject,
    sent: string | undefined,
    options: { signal: AbortSignal },
  ): Promise<string | undefined> {
    const { identity, upstream } = subject
    if (challenge.type === 'basic') return identity.authorization
    const problem = identity.authorization === undefined ? undefined : realmProblem(challenge.realm, upstream.base)
    if (problem !== undefined) throw this.#refusedRealm(challenge.realm, upstream, problem)
    const reach = await this.#reachOf(challenge.realm, upstream)
    const refused = sent?.startsWith('Bearer ') ? sent.slice('Bearer '.length) : undefined
    try {
      return `Bearer ${await this.#tokens.get({ challenge, identity, reach }, refused, options)}`
    } catch (error) {
      const code = codeOf(error)
      if (code !== 'ORIGIN_UNAUTHORIZED' && code !== 'ORIGIN_FORBIDDEN') throw error
      throw new ShoalError('ORIGIN_UNAUTHORIZED', (error as Error).message, { cause: error, detail: { challenge: header } })
    }
  }

  /** A registry on the public internet may not send us to a private address; a private one may. */
  async #reachOf(realm: URL, upstream: Upstream): Promise<Reach> {
    if (!upstream.configured) return 'public'
    if (realm.hostname === upstream.base.hostname || isLoopbackUrl(upstream.base)) return 'any'
    const known = addressIn(upstream.base)
    if (known !== undefined) return this.#resolver.isPublic(known) ? 'public' : 'any'
    const { promise, resolve } = Promise.withResolvers<readonly { address: string }[]>()
    this.#resolver.lookup(upstream.base.hostname, { all: true }, (error, addresses) => resolve(error === null ? addresses : []))
    return (await promise).some(({ address }) => !this.#resolver.isPublic(address)) ? 'any' : 'public'
  }

  #refusedRealm(realm: URL, upstream: Upstream, problem: string): ShoalError {
    this.#log.warn({ registry: upstream.name, realm: shownUrl(realm), problem }, 'credentials kept from a token server')
    return new ShoalError(
      'ORIGIN_PROTOCOL',
      `${upstream.name} wants credentials sent to the token server ${shownUrl(realm)}, which may not have them: ${problem}`,
      { detail: { realm: shownUrl(realm) } },
    )
  }
}

function keyOf({ upstream, repository }: Pick<AuthSubject, 'upstream' | 'repository'>): string {
  return `${upstream.base.href} ${repository}`
}
