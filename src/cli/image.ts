import { z } from 'zod'
import { parseDigest } from '../../protocols/digest.ts'
import { ShoalError } from '../../protocols/error.ts'
import { type Platform, platformText, samePlatform } from './platform.ts'

/** Bounds what one manifest can make us ask for. */
const MAX_CHILDREN = 1_000

const platform = z.object({ os: z.string(), architecture: z.string(), variant: z.string().optional() })
const descriptor = z.object({
  mediaType: z.string().max(255).default('application/octet-stream'),
  digest: z.string().transform((text) => parseDigest(text)),
  size: z.int().nonnegative(),
  platform: platform.optional().catch(undefined),
})
const manifest = z.object({ mediaType: z.string().optional(), config: descriptor, layers: z.array(descriptor).max(MAX_CHILDREN) })
const index = z.object({ mediaType: z.string().optional(), manifests: z.array(descriptor).max(MAX_CHILDREN) })

export type Descriptor = z.output<typeof descriptor>

/** What a registry names by a tag: many images, or one. */
export type ImageDocument =
  | { readonly type: 'index'; readonly mediaType: string; readonly manifests: readonly Descriptor[] }
  | { readonly type: 'manifest'; readonly mediaType: string; readonly blobs: readonly Descriptor[] }

/** Reads an OCI or Docker manifest or index, with or without its `mediaType`. @throws ShoalError ORIGIN_PROTOCOL */
export function parseImageDocument(bytes: Uint8Array): ImageDocument {
  const refuse = (why: string, cause?: unknown) => new ShoalError('ORIGIN_PROTOCOL', `not an image manifest: ${why}`, { cause })
  let value: unknown
  try {
    value = JSON.parse(Buffer.from(bytes).toString())
  } catch (cause) {
    throw refuse('not JSON', cause)
  }
  if (typeof value !== 'object' || value === null) throw refuse('not an object')
  if ('fsLayers' in value) throw refuse('schema 1, which registries gave up years ago')
  try {
    if ('manifests' in value) {
      const { mediaType = 'application/vnd.oci.image.index.v1+json', manifests } = index.parse(value)
      return { type: 'index', mediaType, manifests }
    }
    const { mediaType = 'application/vnd.oci.image.manifest.v1+json', config, layers } = manifest.parse(value)
    return { type: 'manifest', mediaType, blobs: [config, ...layers] }
  } catch (cause) {
    throw refuse(cause instanceof z.ZodError ? z.prettifyError(cause).split('\n').join(' ') : (cause as Error).message, cause)
  }
}

/**
 * The manifest of an index for one platform; the best match of a family (arm v7 runs v6) where there is no exact one.
 * @throws ShoalError ORIGIN_NOT_FOUND
 */
export function pickManifest(manifests: readonly Descriptor[], wanted: Platform): Descriptor {
  const ranked = manifests
    .map((entry) => ({ entry, rank: entry.platform === undefined ? -1 : samePlatform(entry.platform, wanted) }))
    .filter(({ rank }) => rank >= 0)
    .sort((a, b) => b.rank - a.rank)
  const [best] = ranked
  // an index of one image that does not say for which platform can only mean that one
  const only = manifests.length === 1 && manifests[0]?.platform === undefined ? manifests[0] : undefined
  const chosen = best?.entry ?? only
  if (chosen !== undefined) return chosen
  const offered = manifests.flatMap((m) =>
    m.platform === undefined || m.platform.os === 'unknown' ? [] : [platformText(m.platform)],
  )
  throw new ShoalError(
    'ORIGIN_NOT_FOUND',
    `no image for ${platformText(wanted)}; there is ${offered.join(', ') || 'none with a platform'}`,
  )
}
