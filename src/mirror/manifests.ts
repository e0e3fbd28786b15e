import { type Digest, digestOf } from '../../protocols/digest.ts'
import { ShoalError } from '../errors.ts'
import { type Answer, type AnswerHeaders, bytesAnswer, headAnswer, notModified } from './answer.ts'
import { manifestMediaType } from './media-type.ts'
import type { Asked, Serving } from './serving.ts'
import type { ResolvedTag } from './tags.ts'
import { etagOf, noneMatchNames } from './validators.ts'

/** As registries do; indexes of hundreds of platforms stay far below. */
const MAX_MANIFEST_BYTES = 4 * 1024 * 1024

/** A manifest is read whole and verified before the first header is written; ranges of one are answered with the whole. */
export async function answerManifest(serving: Serving, asked: Asked, reference: Digest | string): Promise<Answer> {
  if (typeof reference !== 'string') return await answerDigest(serving, asked, reference, undefined)
  const { registry, repository, authorization, via } = asked
  const tag = await serving.tags.resolve({ registry, repository, tag: reference, authorization, via }, { signal: asked.signal })
  // a stand-in's manifest must be had before it is promised
  if (tag.warning !== undefined) return await answerDigest(serving, asked, tag.digest, tag)
  if (noneMatchNames(asked.headers['if-none-match'], tag.digest)) return notModified(headersOf(tag.digest))
  if (asked.head) return headAnswer(tag.size, { ...headersOf(tag.digest), 'content-type': tag.mediaType })
  return await answerDigest(serving, asked, tag.digest, tag)
}

async function answerDigest(serving: Serving, asked: Asked, digest: Digest, tag: ResolvedTag | undefined): Promise<Answer> {
  const { bytes, mediaType } = await load(serving, asked, digest, tag?.mediaType)
  const headers: AnswerHeaders = {
    ...headersOf(digest),
    'content-type': mediaType,
    ...(tag?.warning === undefined ? {} : { warning: `299 - "${tag.warning.replace(/[^\x20\x21\x23-\x5b\x5d-\x7e]/g, '?')}"` }),
  }
  if (noneMatchNames(asked.headers['if-none-match'], digest)) return notModified(headersOf(digest))
  return bytesAnswer(200, bytes, headers)
}

async function load(
  serving: Serving,
  asked: Asked,
  digest: Digest,
  said: string | undefined,
): Promise<{ readonly bytes: Buffer; readonly mediaType: string }> {
  await using blob = await serving.open({ ...asked, kind: 'manifest' }, digest)
  if (blob.size > MAX_MANIFEST_BYTES) {
    throw new ShoalError('BLOB_TOO_LARGE', `${digest} has ${blob.size} bytes, and a manifest at most ${MAX_MANIFEST_BYTES}`)
  }
  const bytes = Buffer.allocUnsafe(blob.size)
  let length = 0
  for await (const chunk of blob.read({ signal: asked.signal })) {
    bytes.set(chunk.bytes, length)
    length += chunk.bytes.length
    chunk.release()
  }
  // what came in while it was read may have come with somebody's credentials
  await serving.require({ ...asked, kind: 'manifest' }, digest, blob)
  if (length !== blob.size || !digestOf(bytes, digest.algorithm).equals(digest)) {
    throw new ShoalError('DIGEST_MISMATCH', `what is stored as ${digest} is something else`)
  }
  const mediaType = manifestMediaType(bytes, blob.meta.mediaType ?? said)
  if (mediaType === undefined) throw new ShoalError('BLOB_UNKNOWN', `${digest} is not a manifest`)
  return { bytes, mediaType }
}

function headersOf(digest: Digest): AnswerHeaders {
  return { 'docker-content-digest': String(digest), etag: etagOf(digest) }
}
