import { codeOf } from '../errors.ts'
import { parseChallenges, usableChallenge } from '../origin/challenge.ts'
import type { Authorization, Via } from '../origin/origin.ts'
import type { Log } from '../telemetry/log.ts'
import type { Access } from './access.ts'
import { within } from './deadline.ts'
import { ExpiringMap } from './expiring-map.ts'
import { isLoop } from './loop.ts'
import type { MirrorBackend } from './mirror.ts'
import { SingleFlight } from './single-flight.ts'

export interface PingOptions {
  readonly backend: Pick<MirrorBackend, 'origin'>
  readonly access: Pick<Access, 'identity'>
  /** The registry that a ping is about: it names none itself. */
  readonly defaultUpstream: string | undefined
  readonly via: string | undefined
  readonly log: Log
  readonly now: () => number
}

interface PingRequest {
  readonly authorization: Authorization | undefined
  readonly via: Via | undefined
}

const ASK_TIMEOUT_MS = 2_000
const ANSWER_MS = 60_000
const REFUSED_MS = 10_000
const FAILURE_MS = 10_000
const MAX_ANSWERS = 1_000

/** An answer of upstream's; an object, so that "it asks for nothing" can be kept too. */
type Answered = { readonly challenge: string | undefined }

/**
 * What `GET /v2/` answers. containers/image (skopeo, podman, CRI-O) and docker's graph drivers send a password only where the ping
 * asked for one, so the default upstream's wish for one is passed on.
 *
 * Only a Basic challenge is. A Bearer challenge would send every client, also the anonymous, to a token server before its first
 * request, and pulls of what is held here would fail whenever that server is down.
 */
export class Ping {
  readonly #options: PingOptions
  readonly #answers: ExpiringMap<Answered>
  readonly #flights = new SingleFlight<Answered>()

  constructor(options: PingOptions) {
    this.#options = options
    this.#answers = new ExpiringMap(MAX_ANSWERS, options.now)
  }

  /** The challenge to answer with; `undefined` for 200: that is also the answer while upstream can't be asked. */
  async challenge(request: PingRequest, options: { signal: AbortSignal }): Promise<string | undefined> {
    const { defaultUpstream, via } = this.#options
    if (defaultUpstream === undefined || isLoop(request.via, via)) return undefined
    const { challenge } = await this.#ask(defaultUpstream, { ...request, authorization: undefined }, options)
    if (challenge === undefined || request.authorization === undefined) return challenge
    return (await this.#ask(defaultUpstream, request, options)).challenge
  }

  async #ask(registry: string, request: PingRequest, options: { signal: AbortSignal }): Promise<Answered> {
    const key = this.#options.access.identity(request.authorization)
    return this.#answers.get(key) ?? (await this.#flights.run(key, () => this.#askUpstream(registry, request, key), options))
  }

  async #askUpstream(registry: string, request: PingRequest, key: string): Promise<Answered> {
    const { backend, log } = this.#options
    try {
      const ask = (signal: AbortSignal) => backend.origin.challenge({ registry, ...request }, { signal })
      const answered = { challenge: passwordChallenge(await within(ASK_TIMEOUT_MS, registry, ask)) }
      const isRefused = request.authorization !== undefined && answered.challenge !== undefined
      this.#answers.set(key, answered, isRefused ? REFUSED_MS : ANSWER_MS)
      return answered
    } catch (error) {
      log.debug({ registry, code: codeOf(error) }, 'the registry was not heard on whether it wants a password')
      this.#answers.set(key, { challenge: undefined }, FAILURE_MS)
      return { challenge: undefined }
    }
  }
}

/** A Basic challenge, where that is what the registry wants. */
function passwordChallenge(header: string | undefined): string | undefined {
  const challenges = parseChallenges(header)
  if (usableChallenge(challenges, '')?.type !== 'basic') return undefined
  const realm = challenges.find(({ scheme }) => scheme === 'basic')?.parameters.get('realm') ?? 'registry'
  return `Basic realm="${realm.replace(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, '?').slice(0, 200)}"`
}
