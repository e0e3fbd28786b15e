/** Where a blob comes from when no peer has it. Registries and HTTP(S) servers are both seen as this. */
import type { OriginPause } from '../../protocols/beacon/codec.ts'
import type { Digest } from '../../protocols/digest.ts'
import type { PausedOrigin } from './cool-down.ts'

/** Credentials as a client presented them: the value of its `Authorization` header. Never logged, kept, or sent to another host. */
export type Authorization = string

/** The `Via` of the request that this is done for: sent on with our own name, so that a request that comes round again is noticed. */
export type Via = string

/** What to read: a blob or manifest of a registry's repository, or a URL. */
export type OriginSource =
  | {
      readonly type: 'registry'
      /** Name as in references, e.g. `docker.io`; configuration maps it to a URL. */
      readonly registry: string
      readonly repository: string
      readonly kind: 'blob' | 'manifest'
      readonly authorization?: Authorization | undefined
      readonly via?: Via | undefined
    }
  | { readonly type: 'url'; readonly url: URL }

export interface OriginBody {
  /** Total size of the blob in bytes; `undefined` when the origin does not say. */
  readonly size: number | undefined
  /** Where in the blob `body` begins: the start asked for, or 0 when the origin does not do ranges. */
  readonly start: number
  /** Whether the origin kept to the range asked for. One that ignores ranges sends the whole, and `body` goes on to the blob's end. */
  readonly ranged: boolean
  readonly mediaType: string | undefined
  /** Whether the client's own credentials were needed: `false` when the origin gives it to anybody. */
  readonly usedAuthorization: boolean
  /**
   * Bytes in order; ends at `end` (if `ranged`) or the blob's end. Reading slower holds the origin back.
   * @throws ShoalError ORIGIN_UNREACHABLE (cut), ORIGIN_TIMEOUT (no progress), ORIGIN_PROTOCOL (longer or shorter than it said)
   */
  readonly body: AsyncIterable<Uint8Array>
  /** Drops the rest. */
  cancel(): void
}

export interface ManifestHead {
  readonly digest: Digest
  readonly size: number
  readonly mediaType: string
  readonly usedAuthorization: boolean
}

export interface Origin extends AsyncDisposable {
  /**
   * Opens a blob at byte `start`, up to `end` (exclusive) or its end.
   * @throws ShoalError ORIGIN_* : NOT_FOUND, UNAUTHORIZED (detail.challenge: upstream's WWW-Authenticate), FORBIDDEN,
   * RATE_LIMITED (detail.retryAfterMs), UNREACHABLE, TIMEOUT, FAILED, PROTOCOL, REDIRECT
   */
  open(
    source: OriginSource,
    digest: Digest,
    range: { start: number; end?: number | undefined },
    options: { signal: AbortSignal },
  ): Promise<OriginBody>
  /** What a tag means now, by HEAD (GET where HEAD will not do). @throws as open */
  resolveTag(
    reference: {
      readonly registry: string
      readonly repository: string
      readonly tag: string
      readonly authorization?: Authorization | undefined
      readonly via?: Via | undefined
    },
    options: { signal: AbortSignal },
  ): Promise<ManifestHead>
  /** Whether upstream lets these credentials (or nobody's) see this blob or manifest: HEAD. @throws as open for anything but 401, 403, 404 */
  permits(source: OriginSource, digest: Digest, options: { signal: AbortSignal }): Promise<boolean>
  /**
   * What the registry's own `/v2/` asks credentials with, of nobody or of who shows these: its `WWW-Authenticate`. `undefined` when
   * it asks for none, or has the operator's own. No token is fetched for it.
   * @throws as open for anything but an answer and 401
   */
  challenge(
    request: {
      readonly registry: string
      readonly authorization?: Authorization | undefined
      readonly via?: Via | undefined
    },
    options: { signal: AbortSignal },
  ): Promise<string | undefined>
  /** Passes any other pull-API GET (tags list, referrers) through. */
  relay(
    request: {
      readonly registry: string
      readonly path: string
      readonly accept?: string | undefined
      readonly authorization?: Authorization | undefined
      readonly via?: Via | undefined
    },
    options: { signal: AbortSignal },
  ): Promise<{
    readonly status: number
    readonly headers: Readonly<Record<string, string>>
    readonly body: AsyncIterable<Uint8Array>
  }>
}

/** Origins as a zone shares them: who is told by one of them to come later tells the others. */
export interface ZoneOrigin extends Origin {
  /** A member of the zone was told to leave an origin alone. */
  heed(author: string, pause: OriginPause): void
  /** What is not asked at the moment. */
  paused(): readonly PausedOrigin[]
}
