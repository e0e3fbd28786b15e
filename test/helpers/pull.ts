/** Reading blobs and images through a mirror as a client does, every digest checked. */
import { createHash } from 'node:crypto'
import type { Image, ImageBlob } from '../../examples/demo/image.ts'

export interface PulledBody {
  readonly status: number
  readonly bytes: number
  readonly digest: string
  readonly contentType: string | null
}

/** GETs to the end. @throws when the body is cut */
export async function get(url: string, headers: Record<string, string> = {}): Promise<PulledBody> {
  const response = await fetch(url, { headers })
  const hash = createHash('sha256')
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    hash.update(chunk)
    bytes += chunk.length
  }
  return {
    status: response.status,
    bytes,
    digest: `sha256:${hash.digest('hex')}`,
    contentType: response.headers.get('content-type'),
  }
}

/** Pulls tag, manifest, config and layers of an image through a mirror, layers at once. @throws when anything is not as it should be */
export async function pullImage(mirror: string, registry: string, repository: string, tag: string, image: Image): Promise<void> {
  const base = `${mirror}/v2/${registry}/${repository}`
  const manifest = await get(`${base}/manifests/${tag}`, { accept: image.manifest.mediaType })
  check(manifest, image.manifest)
  await Promise.all([image.config, ...image.layers].map(async (blob) => check(await get(`${base}/blobs/${blob.digest}`), blob)))
}

function check(got: PulledBody, blob: ImageBlob): void {
  if (got.status !== 200 || got.digest !== String(blob.digest)) {
    throw new Error(`${blob.digest}: got status ${got.status}, ${got.bytes} bytes, ${got.digest}`)
  }
}
