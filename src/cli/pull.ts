import type { Digest } from '../../protocols/digest.ts'
import { parseDigest } from '../../protocols/digest.ts'
import { ShoalError } from '../../protocols/error.ts'
import type { Reference } from '../../protocols/reference.ts'
import { bringBlob, readBlob, readSmallBlob } from './blob.ts'
import type { ControlClient } from './client.ts'
import { type Descriptor, parseImageDocument, pickManifest } from './image.ts'
import type { Layout } from './layout.ts'
import type { Platform } from './platform.ts'
import type { Progress } from './progress.ts'

export interface PullOptions {
  /** `undefined`: every platform's image. */
  readonly platform: Platform | undefined
  /** Where to write the image too, besides bringing it into the node. */
  readonly layout: Layout | undefined
  readonly progress: Progress
  readonly signal: AbortSignal
}

/** What came in. */
export interface PulledImage {
  readonly reference: string
  /** Of the manifest, or (all platforms) the index. */
  readonly digest: Digest
  readonly mediaType: string
  readonly blobs: readonly { readonly digest: Digest; readonly size: number; readonly mediaType: string }[]
}

interface Resolved {
  readonly registry: string
  readonly repository: string
  readonly reference: string
  readonly digest: string
}

/** As registries bound them; containerd refuses more than 4 MiB. */
const MAX_MANIFEST_BYTES = 8 << 20
/** Blobs on their way at once: each moves piece by piece from many peers, so that a few fill any link. */
const CONCURRENCY = 4
/** An index of indexes of indexes is nobody's image. */
const MAX_DEPTH = 4

/** Brings a whole image into the node: index, manifest, config and layers. @throws ShoalError as the node does; ORIGIN_PROTOCOL, ORIGIN_NOT_FOUND */
export async function pullImage(client: ControlClient, reference: string, options: PullOptions): Promise<PulledImage> {
  const resolved = await client.json<Resolved>('GET', '/v1/images/resolve', { signal: options.signal, query: { reference } })
  const origin = `${resolved.registry}/${resolved.repository}`
  const documents: Descriptor[] = []
  const blobs = new Map<string, Descriptor>()

  async function walk(digest: Digest, depth: number): Promise<Descriptor> {
    if (depth > MAX_DEPTH) throw new ShoalError('ORIGIN_PROTOCOL', `${reference}: indexes within indexes, ${MAX_DEPTH} deep`)
    const bytes = await readSmallBlob(
      client,
      { digest, origin, kind: 'manifest' },
      { maxBytes: MAX_MANIFEST_BYTES, signal: options.signal },
    )
    const document = parseImageDocument(bytes)
    const self = { digest, size: bytes.length, mediaType: document.mediaType }
    const chosen =
      document.type === 'index' && options.platform !== undefined ? pickManifest(document.manifests, options.platform) : undefined
    // the index itself names images that are not brought along: it is in the node, but not in the layout
    if (chosen !== undefined) return walk(chosen.digest, depth + 1)
    if (document.type === 'index') for (const child of document.manifests) await walk(child.digest, depth + 1)
    else for (const blob of document.blobs) blobs.set(String(blob.digest), blob)
    await options.layout?.write(digest, once(bytes), options)
    documents.push(self)
    return self
  }

  const root = await walk(parseDigest(resolved.digest), 0)
  await eachAtOnce([...blobs.values()], CONCURRENCY, options.signal, (blob, signal) =>
    bring(client, blob, origin, { ...options, signal }),
  )
  await options.layout?.finish(root, tagOf(resolved.reference))
  const { digest, mediaType } = root
  return { reference: resolved.reference, digest, mediaType, blobs: [...documents, ...blobs.values()].map(summary) }
}

async function bring(client: ControlClient, blob: Descriptor, origin: string, options: PullOptions): Promise<void> {
  const { digest } = blob
  const bar = options.progress.bar(`${digest.algorithm}:${digest.hex.slice(0, 12)}`)
  bar.update(0, blob.size)
  const follow = {
    signal: options.signal,
    onProgress: (p: { doneBytes: number; totalBytes: number }) => bar.update(p.doneBytes, p.totalBytes),
  }
  if (options.layout === undefined) await bringBlob(client, { digest, origin }, follow)
  else await options.layout.write(digest, readBlob(client, { digest, origin }, follow), options)
  bar.update(blob.size, blob.size)
  bar.end()
}

/** Runs over all items, some at a time; the first failure stops the rest. */
async function eachAtOnce<T>(
  items: readonly T[],
  atOnce: number,
  signal: AbortSignal,
  run: (item: T, signal: AbortSignal) => Promise<void>,
): Promise<void> {
  const stop = new AbortController()
  const either = AbortSignal.any([signal, stop.signal])
  const queue = items.values()
  const worker = async (): Promise<void> => {
    for (const item of queue) {
      either.throwIfAborted()
      await run(item, either)
    }
  }
  try {
    await Promise.all(Array.from({ length: atOnce }, worker))
  } finally {
    stop.abort()
  }
}

function tagOf(reference: string): Reference['tag'] {
  const name = reference.split('@')[0] ?? ''
  return name.lastIndexOf(':') > name.lastIndexOf('/') ? name.slice(name.lastIndexOf(':') + 1) : undefined
}

function summary({ digest, size, mediaType }: Descriptor): PulledImage['blobs'][number] {
  return { digest, size, mediaType }
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes
}
