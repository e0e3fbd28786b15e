const TYPE = /^[a-z0-9][a-z0-9!#$&^_.+-]{0,126}\/[a-z0-9][a-z0-9!#$&^_.+-]{0,126}$/i

const OCI_MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const OCI_INDEX = 'application/vnd.oci.image.index.v1+json'
const DOCKER_V1 = 'application/vnd.docker.distribution.manifest.v1+json'
const DOCKER_V1_SIGNED = 'application/vnd.docker.distribution.manifest.v1+prettyjws'

/**
 * The Content-Type of a manifest. Its own `mediaType` field is covered by the digest and wins; many have none (umoci writes
 * such), then it is what it came with; and then its shape. `undefined`: this is no manifest.
 */
export function manifestMediaType(bytes: Uint8Array, stored: string | undefined): string | undefined {
  const body = parseObject(bytes)
  if (body === undefined) return undefined
  if (typeof body.mediaType === 'string' && TYPE.test(body.mediaType)) return body.mediaType
  const came = bareType(stored)
  if (came !== undefined && came !== 'application/octet-stream' && came !== 'application/json') return came
  return shape(body)
}

/** A media type without its parameters, if it is one. */
export function bareType(text: string | undefined): string | undefined {
  const bare = text?.split(';', 1)[0]?.trim()
  return bare !== undefined && TYPE.test(bare) ? bare : undefined
}

function shape(body: Record<string, unknown>): string | undefined {
  if (body.schemaVersion === 1) return 'signatures' in body ? DOCKER_V1_SIGNED : DOCKER_V1
  if (Array.isArray(body.manifests)) return OCI_INDEX
  if (Array.isArray(body.layers) || 'config' in body) return OCI_MANIFEST
  return undefined
}

function parseObject(bytes: Uint8Array): Record<string, unknown> | undefined {
  if (bytes[0] !== 0x7b && !/^\s*\{/.test(Buffer.from(bytes.subarray(0, 64)).toString())) return undefined
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
