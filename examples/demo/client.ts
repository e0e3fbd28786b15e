/** What a container runtime does to pull an image, in one page: manifest, config, layers; and every digest checked. */
import { createHash } from 'node:crypto'
import { type Digest, digestOf, parseDigest } from '../../protocols/digest.ts'
import { parseReference } from '../../protocols/reference.ts'
import { type Descriptor, type ImageDocument, parseImageDocument, pickManifest } from '../../src/cli/image.ts'
import { hostPlatform } from '../../src/cli/platform.ts'

const ACCEPT = [
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  'application/vnd.docker.distribution.manifest.v2+json',
].join(', ')

export interface Pulled {
  /** Of the manifest of this platform. */
  readonly digest: Digest
  readonly verified: number
  readonly bytes: number
  readonly ms: number
}

/** Pulls an image through a mirror. `onBytes` is told how much of how much is there. @throws Error when anything is not as named */
export async function pullThrough(
  mirror: string,
  image: string,
  options: { signal: AbortSignal; onBytes: (done: number, total: number) => void },
): Promise<Pulled> {
  const { registry, repository, tag, digest } = parseReference(image)
  const base = `${mirror}/v2/${registry}/${repository}`
  const beganAt = performance.now()
  let verified = 0

  async function manifest(reference: string): Promise<{ document: ImageDocument; digest: Digest }> {
    const response = await get(`${base}/manifests/${reference}`, options.signal)
    const bytes = new Uint8Array(await response.arrayBuffer())
    const said = parseDigest(response.headers.get('docker-content-digest') ?? '')
    const wanted = reference.includes(':') ? parseDigest(reference) : said
    const found = digestOf(bytes, wanted.algorithm)
    if (!found.equals(wanted) || !said.equals(wanted)) throw new Error(`manifest ${reference} has digest ${found}, not ${wanted}`)
    verified++
    return { document: parseImageDocument(bytes), digest: wanted }
  }

  let top = await manifest(digest === undefined ? (tag ?? 'latest') : String(digest))
  if (top.document.type === 'index') top = await manifest(String(pickManifest(top.document.manifests, hostPlatform()).digest))
  if (top.document.type === 'index') throw new Error(`${image}: an index of indexes`)
  const blobs = [...new Map(top.document.blobs.map((blob) => [String(blob.digest), blob])).values()]
  const total = blobs.reduce((sum, blob) => sum + blob.size, 0)
  let done = 0
  await Promise.all(
    blobs.map(async (blob) => {
      await pullBlob(`${base}/blobs/${blob.digest}`, blob, options.signal, (bytes) => {
        done += bytes
        options.onBytes(done, total)
      })
      verified++
    }),
  )
  return { digest: top.digest, verified, bytes: total, ms: performance.now() - beganAt }
}

async function pullBlob(
  url: string,
  { digest, size }: Descriptor,
  signal: AbortSignal,
  onBytes: (bytes: number) => void,
): Promise<void> {
  const { body } = await get(url, signal)
  const hash = createHash(digest.algorithm)
  let bytes = 0
  if (body === null) throw new Error(`${digest} came without a body`)
  for await (const part of body) {
    hash.update(part)
    bytes += part.length
    onBytes(part.length)
  }
  if (bytes !== size) throw new Error(`${digest} has ${bytes} bytes, not ${size}`)
  const found = hash.digest('hex')
  if (found !== digest.hex) throw new Error(`${digest} came as ${digest.algorithm}:${found}`)
}

async function get(url: string, signal: AbortSignal): Promise<Response> {
  const response = await fetch(url, { signal, headers: { accept: `${ACCEPT}, */*` } })
  if (response.ok) return response
  throw new Error(`GET ${url}: ${response.status} ${(await response.text()).slice(0, 500)}`)
}
