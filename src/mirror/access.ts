import { createHmac, randomBytes } from 'node:crypto'
import type { Digest } from '../../protocols/digest.ts'
import { codeOf, ShoalError } from '../errors.ts'
import type { Authorization, OriginSource } from '../origin/origin.ts'
import type { BlobMeta } from '../store/store.ts'
import { within } from './deadline.ts'
import { ExpiringMap } from './expiring-map.ts'
import type { MirrorBackend } from './mirror.ts'
import { proveOrigin } from './proof.ts'
import { SingleFlight } from './single-flight.ts'

/** A registry's blob or manifest as one client asks for it. */
export type RegistrySource = Extract<OriginSource, { type: 'registry' }>

const PERMITTED_MS = 5 * 60_000
const REFUSED_MS = 10_000
const ASK_TIMEOUT_MS = 10_000
/** A proof reads the whole blob from the registry, once in a while. */
const PROOF_TIMEOUT_MS = 30 * 60_000
const PROVEN_MS = 24 * 3600_000
const MAX_PROOFS = 4
const MAX_VERDICTS = 20_000

type Verdict = { readonly permitted: true } | { readonly permitted: false; readonly error: unknown }

/**
 * Who may see content that a client's own credentials brought here. Upstream decides, asked with the credentials of the
 * request at hand; its answer is kept for a while under a keyed hash of registry, repository, digest and credentials.
 *
 * Whose word counts: the registry that all of the content came from, for any repository of its own. Any other registry (a client
 * may name one that it runs itself) must prove that it has the content, by giving it: a HEAD can lie, a digest can't.
 */
export class Access {
  readonly #backend: MirrorBackend
  readonly #shared: boolean
  readonly #key = randomBytes(32)
  readonly #verdicts: ExpiringMap<Verdict>
  readonly #flights = new SingleFlight<Verdict>()
  readonly #proven: ExpiringMap<true>
  readonly #proofs = new SingleFlight<void>()

  constructor(options: { backend: MirrorBackend; shared: boolean; now: () => number }) {
    this.#backend = options.backend
    this.#shared = options.shared
    this.#verdicts = new ExpiringMap(MAX_VERDICTS, options.now)
    this.#proven = new ExpiringMap(MAX_VERDICTS, options.now)
  }

  /** A client's identity as a key in maps; never the credentials themselves. */
  identity(authorization: Authorization | undefined): string {
    return authorization === undefined ? 'anonymous' : this.#hash([authorization])
  }

  /**
   * Returns when this client may see the content that this is said of.
   * @throws ShoalError what upstream answers these credentials: ORIGIN_UNAUTHORIZED, ORIGIN_FORBIDDEN, ORIGIN_NOT_FOUND, …
   */
  async require(
    source: RegistrySource,
    digest: Digest,
    metas: readonly (BlobMeta | undefined)[],
    options: { signal: AbortSignal },
  ) {
    if (this.#shared) return
    const owners = metas.flatMap((meta) => meta?.restrictedTo ?? [])
    if (owners.length === 0) return
    const trusted = owners.every((name) => name.startsWith(`${source.registry}/`))
    const key = this.#hash([source.registry, source.repository, source.kind, String(digest), source.authorization])
    if (!trusted) await this.#prove(source, digest, key, options)
    const verdict = this.#verdicts.get(key) ?? (await this.#flights.run(key, () => this.#ask(source, digest, key), options))
    if (!verdict.permitted) throw verdict.error
  }

  async #ask(source: RegistrySource, digest: Digest, key: string): Promise<Verdict> {
    const { origin } = this.#backend
    if (await within(ASK_TIMEOUT_MS, source.registry, (signal) => origin.permits(source, digest, { signal }))) {
      this.#verdicts.set(key, { permitted: true }, PERMITTED_MS)
      return { permitted: true }
    }
    const verdict = { permitted: false, error: await this.#upstreamsRefusal(source, digest) } as const
    this.#verdicts.set(key, verdict, REFUSED_MS)
    return verdict
  }

  /** What upstream says to these credentials when they ask for the content itself: with its challenge, if it has one. */
  async #upstreamsRefusal(source: RegistrySource, digest: Digest): Promise<unknown> {
    const { origin } = this.#backend
    try {
      const range = { start: 0, end: 1 }
      const body = await within(ASK_TIMEOUT_MS, source.registry, (signal) => origin.open(source, digest, range, { signal }))
      body.cancel()
    } catch (error) {
      if (codeOf(error) !== undefined) return error
    }
    return new ShoalError('ORIGIN_NOT_FOUND', `${source.registry} does not show ${digest} to these credentials`)
  }

  async #prove(source: RegistrySource, digest: Digest, key: string, options: { signal: AbortSignal }): Promise<void> {
    const fact = `${source.registry} ${digest}`
    if (this.#proven.get(fact) === true) return
    await this.#proofs.run(
      key,
      async () => {
        if (this.#proofs.size >= MAX_PROOFS)
          throw new ShoalError('BLOB_UNKNOWN', 'too many blobs are being compared with upstream')
        await proveOrigin(this.#backend, source, digest, { signal: AbortSignal.timeout(PROOF_TIMEOUT_MS) })
        this.#proven.set(fact, true, PROVEN_MS)
      },
      options,
    )
  }

  #hash(parts: readonly (string | undefined)[]): string {
    return createHmac('sha256', this.#key).update(JSON.stringify(parts)).digest('base64')
  }
}
