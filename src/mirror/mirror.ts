/**
 * The OCI registry endpoint of a node: what containerd, docker, podman, skopeo, crane, oras and others pull through.
 *
 * Which registry a request means: `?ns=<registry>` (containerd sends it), else the path's first component when it looks like a
 * host (`/v2/docker.io/library/nginx/…`: podman, skopeo), else the default upstream. With both, `ns` wins.
 *
 * What it does:
 * - Tags are asked of upstream by HEAD, at most once per TTL, by one member of the zone for all (protocols/tag/SPEC.md says what
 *   that trusts); digests never need upstream. While upstream is down or limits, the last known meaning of a tag is served, then a
 *   peer's (tags.ts), with a `Warning`.
 * - Content that came with a client's own credentials is served to a request only after upstream has accepted that request's
 *   credentials for it (access.ts), unless the operator declares the node `shared`.
 * - What it can't do is 404 at the first request, so that the client goes on to the registry; upstream's 401, 403 and 429 are
 *   passed on. In the middle of a body the connection is cut, and no body is ever ended short.
 * - `GET /v2/` asks for a password when the default upstream does and the client is on this host (ping.ts says why only then).
 * - One range is answered with 206; a list of ranges with the whole, which clients of lists tolerate.
 * - Registries on private addresses are refused unless the operator named them as upstreams.
 */
import type { IncomingMessage } from 'node:http'
import type { Digest } from '../../protocols/digest.ts'
import type { TagQuestion } from '../../protocols/tag/codec.ts'
import type { TagWord } from '../discovery/vouch.ts'
import type { OpenBlob } from '../download/download.ts'
import type { Origin, OriginSource } from '../origin/origin.ts'
import type { BlobInfo, BlobMeta, TagRecords } from '../store/store.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { ResolvedWord } from '../zone-tags.ts'
import { Access } from './access.ts'
import { Cuts } from './cuts.ts'
import { Front } from './front.ts'
import { isLoopback } from './private-name.ts'
import { HttpServer } from './server.ts'
import { Serving } from './serving.ts'
import { type TagReference, Tags } from './tags.ts'

/** What a mirror needs of its node. */
export interface MirrorBackend {
  /** As Downloads.open; the signal is about opening only. `meta` of what is given is live. */
  open(digest: Digest, options: { origin?: OriginSource; meta?: BlobMeta; signal: AbortSignal }): Promise<OpenBlob>
  /** What is held here; asks nobody. `meta.restrictedTo` marks private content. */
  stat(digest: Digest): Promise<BlobInfo | undefined>
  /** What is known of the content of a download under way, `restrictedTo` as soon as an origin wanted credentials. */
  active(digest: Digest): BlobMeta | undefined
  readonly origin: Pick<Origin, 'open' | 'permits' | 'relay' | 'challenge'>
  readonly tags: TagRecords
  /** What a tag means, by the registry's word, which a member of the zone may have asked for. @throws ShoalError as Origin.resolveTag */
  resolveTag(reference: TagReference, options: { signal: AbortSignal }): Promise<ResolvedWord>
  /** What a peer says that a tag means, however long ago it heard so. Peers tell only what is not restricted. */
  askTag(
    question: TagQuestion,
    options: { signal: AbortSignal },
  ): Promise<{ readonly answer: TagWord; readonly peerId: string } | undefined>
}

export interface MirrorOptions {
  readonly backend: MirrorBackend
  readonly listen: { readonly host: string; readonly port: number }
  /** The registry that names without one mean. */
  readonly defaultUpstream: string | undefined
  /** Names that the operator configured: these may be private addresses. */
  readonly upstreams?: readonly string[]
  /** The operator declares that everybody who reaches this node may see everything it holds. */
  readonly shared: boolean
  readonly tagTtlMs: number
  /** What this node calls itself in the `Via` of its own upstream requests: one that comes back is a loop. */
  readonly via?: string
  /** A client that takes nothing for so long is cut off. */
  readonly stalledMs?: number
  readonly log: Log
  readonly metrics: Metrics
  /** Monotonic and wall-clock milliseconds. */
  readonly now?: () => number
  readonly wallClock?: () => number
}

export interface Mirror {
  /** `HOST:PORT` that was bound. */
  readonly address: string
  /** Takes no more requests; what is being answered has `graceMs` to end and is cut then. */
  close(graceMs: number): Promise<void>
}

/** @throws ShoalError ADDRESS_INVALID when the address can't be listened on */
export async function openMirror(options: MirrorOptions): Promise<Mirror> {
  const { backend, shared, tagTtlMs, log, listen } = options
  const now = options.now ?? (() => performance.now())
  const access = new Access({ backend, shared, now })
  const tags = new Tags({ backend, access, tagTtlMs, log, now, wallClock: options.wallClock ?? Date.now })
  const serving = new Serving({ backend, access, tags, cuts: new Cuts(now) })
  const front = new Front(serving, options)
  const server = new HttpServer((request, response, closing) =>
    front.serve(request, response, { closing, listensOnLoopback: isLoopback(localAddress(request)) }),
  )
  const { address, family, port } = await server.listen(listen.host, listen.port)
  return {
    address: `${family === 'IPv6' ? `[${address}]` : address}:${port}`,
    close: (graceMs) => server.close(graceMs),
  }
}

/** A request that came in over loopback came from this host, or from a browser on it, whatever else is listened on. */
function localAddress(request: IncomingMessage): string {
  return request.socket.localAddress ?? ''
}
