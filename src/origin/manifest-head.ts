import { type Digest, digestOf, parseDigest } from '../../protocols/digest.ts'
import { ShoalError } from '../../protocols/error.ts'
import { MAX_MANIFEST_BYTES } from './limits.ts'

interface Headers {
  header(name: string): string | undefined
}

export interface ManifestFacts {
  readonly digest: Digest
  readonly size: number
  readonly mediaType: string
}

/** A media type without its parameters. */
export function mediaTypeIn(answer: Headers): string | undefined {
  const type = answer.header('content-type')?.split(';')[0]?.trim().toLowerCase()
  return type === '' ? undefined : type?.slice(0, 255)
}

/** What the headers of a manifest say of it; `undefined` when they say too little, and its bytes are needed. @throws ShoalError ORIGIN_PROTOCOL */
export function factsInHeaders(answer: Headers): ManifestFacts | undefined {
  const digest = digestIn(answer)
  const mediaType = mediaTypeIn(answer)
  const length = answer.header('content-length') ?? ''
  const size = /^\d{1,15}$/.test(length) ? Number(length) : 0
  if (size > MAX_MANIFEST_BYTES)
    throw new ShoalError('ORIGIN_PROTOCOL', `a manifest of ${size} bytes is over the limit of ${MAX_MANIFEST_BYTES}`)
  const isCoded = (answer.header('content-encoding') ?? 'identity') !== 'identity'
  return digest === undefined || mediaType === undefined || size === 0 || isCoded ? undefined : { digest, size, mediaType }
}

/** The same from the bytes themselves. @throws ShoalError ORIGIN_PROTOCOL when the headers contradict them, or it is no manifest */
export function factsInBytes(answer: Headers, bytes: Uint8Array): ManifestFacts {
  const said = digestIn(answer)
  const digest = digestOf(bytes, said?.algorithm)
  if (said !== undefined && !said.equals(digest))
    throw new ShoalError('ORIGIN_PROTOCOL', `the origin calls ${said} what is ${digest}`)
  const mediaType = mediaTypeIn(answer) ?? mediaTypeWithin(bytes)
  if (mediaType === undefined) throw new ShoalError('ORIGIN_PROTOCOL', 'the origin sends a manifest without a media type')
  return { digest, size: bytes.length, mediaType }
}

function digestIn(answer: Headers): Digest | undefined {
  try {
    return parseDigest(answer.header('docker-content-digest') ?? '')
  } catch {
    return undefined
  }
}

function mediaTypeWithin(bytes: Uint8Array): string | undefined {
  try {
    const { mediaType } = JSON.parse(Buffer.from(bytes).toString('utf8')) as { mediaType?: unknown }
    return typeof mediaType === 'string' ? mediaType.slice(0, 255) : undefined
  } catch {
    return undefined
  }
}
