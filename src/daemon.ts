import type { Config } from './config.ts'
import type { ControlBackend } from './control/backend.ts'
import { type Control, openControl } from './control/server.ts'
import type { OpenBlob } from './download/download.ts'
import { Access } from './mirror/access.ts'
import { type Mirror, type MirrorBackend, openMirror } from './mirror/mirror.ts'
import { Tags } from './mirror/tags.ts'
import { type NodeParts, type NodeStatus, openNodeParts, type ShoalNode } from './node.ts'
import { TAG_TTL_MS } from './tag-desk.ts'
import type { Log } from './telemetry/log.ts'

/** A node with its listeners. */
export interface Daemon extends AsyncDisposable {
  readonly node: ShoalNode
  /** HOST:PORT that was bound; `undefined` where the listener is off. */
  readonly mirror: string | undefined
  readonly control: string | undefined
  /** The node's, with what its listeners bound. */
  status(): Promise<NodeStatus>
  /** The listeners first, then the node. */
  close(): Promise<void>
}

export interface DaemonOptions {
  readonly log: Log
  /** What callers of the control listener must show. */
  readonly token: string | undefined
}

/** What is being answered may end; a supervisor waits 5 s for all of us. */
const GRACE_MS = 1_000

/** Opens a node and its listeners; what was opened is closed again if one of them can't be. @throws ShoalError as openNode; ADDRESS_INVALID */
export async function openDaemon(config: Config, options: DaemonOptions): Promise<Daemon> {
  await using stack = new AsyncDisposableStack()
  const parts = await openNodeParts({ ...config, log: options.log })
  const { node } = parts
  stack.use(node)
  const backend = mirrorBackend(parts, config)
  const mirror = await openMirrorIfOn(backend, parts, config, options)
  if (mirror !== undefined) stack.defer(() => mirror.close(GRACE_MS))
  const control = await openControlIfOn(controlBackend(backend, parts, config, options), mirror?.address, parts, config, options)
  if (control !== undefined) stack.use(control)
  const opened = stack.move()
  const close = (): Promise<void> => opened.disposeAsync()
  const bound = { mirror: mirror?.address, control: control?.address }
  return { node, ...bound, close, [Symbol.asyncDispose]: close, status: async () => ({ ...(await node.status()), ...bound }) }
}

async function openMirrorIfOn(
  backend: MirrorBackend,
  { metrics, node }: NodeParts,
  { mirror: listen, defaultUpstream, upstream, shared }: Config,
  { log }: DaemonOptions,
): Promise<Mirror | undefined> {
  if (listen === undefined) return undefined
  const upstreams = [...upstream.keys()]
  return openMirror({ backend, listen, defaultUpstream, upstreams, shared, tagTtlMs: TAG_TTL_MS, via: node.peerId, log, metrics })
}

async function openControlIfOn(
  node: ControlBackend,
  mirror: string | undefined,
  { metrics }: NodeParts,
  { control: listen, shared }: Config,
  { log, token }: DaemonOptions,
): Promise<Control | undefined> {
  return listen === undefined ? undefined : openControl({ node, listen, token, metrics, shared, mirror, log })
}

/** What the mirror asks for, of the node's parts. */
function mirrorBackend({ node, downloads, origin, store, askTag, tags }: NodeParts, { stream }: Config): MirrorBackend {
  return {
    open: async (digest, options) => {
      const blob = await downloads.open(digest, options)
      return stream === 'whole' ? wholeFirst(blob) : blob
    },
    stat: (digest) => node.stat(digest),
    active: (digest) => downloads.active(digest),
    origin,
    tags: store.tags,
    askTag,
    resolveTag: (reference, options) => tags.resolve(reference, options),
  }
}

/** The node, and what tags mean to somebody without credentials: as its mirror would say. */
function controlBackend(backend: MirrorBackend, { node }: NodeParts, { shared }: Config, { log }: DaemonOptions): ControlBackend {
  const now = (): number => performance.now()
  const access = new Access({ backend, shared, now })
  const tags = new Tags({ backend, access, tagTtlMs: TAG_TTL_MS, log, now, wallClock: Date.now })
  return {
    open: (digest, options) => node.open(digest, options),
    add: (content, options) => node.add(content, options),
    stat: (digest) => node.stat(digest),
    list: () => node.list(),
    remove: (digest) => node.remove(digest),
    peers: () => node.peers(),
    bans: () => node.bans(),
    ban: (peerId, options) => node.ban(peerId, options),
    unban: (peerId) => node.unban(peerId),
    status: () => node.status(),
    resolveTag: (reference, options) => tags.resolve({ ...reference, authorization: undefined }, options),
  }
}

/** For who rather waits than gets bytes of a blob whose digest is not proven yet (design 4, `stream: whole`). */
function wholeFirst(blob: OpenBlob): OpenBlob {
  return {
    digest: blob.digest,
    size: blob.size,
    get meta() {
      return blob.meta
    },
    async *read(options) {
      await blob.whole(options)
      yield* blob.read(options)
    },
    whole: (options) => blob.whole(options),
    [Symbol.asyncDispose]: () => blob[Symbol.asyncDispose](),
  }
}
