import type { Digest } from '../digest.ts'
import { isMediaType, MAX_MEDIA_TYPE_BYTES } from '../media-type.ts'
import { Reader } from '../reader.ts'
import { isRegistryName, isRepositoryName, isTag } from '../reference.ts'
import { Writer } from '../writer.ts'
import { MAX_REGISTRY_BYTES, MAX_REPOSITORY_BYTES, MAX_TAG_BYTES, MAX_TAG_MESSAGE_BYTES } from './limits.ts'

/** `/shoal/tag/1`: what does this tag mean? One question and one answer on a short stream. */
export interface TagQuestion {
  /** The registry's name, as in image references (`docker.io`). */
  readonly registry: string
  readonly repository: string
  readonly tag: string
  /** What is known for longer, in milliseconds, the registry is to be asked again for; 0: what is known will do, however old. */
  readonly maxAgeMs: number
}

export type TagAnswer =
  | { readonly known: false }
  /** The registry is being asked: another answer follows. */
  | { readonly known: 'soon' }
  | {
      readonly known: true
      readonly digest: Digest
      readonly mediaType: string
      readonly size: number
      /** Milliseconds since the answerer last had it from the registry itself. */
      readonly ageMs: number
    }

export { TAG_PROTOCOL } from './limits.ts'

/** As they are numbered on the wire, from 0. */
const KNOWN = Object.freeze([false, true, 'soon'] as const)

export function encodeTagQuestion(question: TagQuestion): Uint8Array {
  const { registry, repository, tag, maxAgeMs } = question
  if (!isSound(question)) throw new TypeError(`not the name of a tag: ${JSON.stringify(question).slice(0, 300)}`)
  const writer = new Writer().text(registry, MAX_REGISTRY_BYTES).text(repository, MAX_REPOSITORY_BYTES)
  return writer.text(tag, MAX_TAG_BYTES).u32(maxAgeMs).finish()
}

/** @throws ShoalError MESSAGE_MALFORMED, MESSAGE_TOO_LARGE */
export function decodeTagQuestion(bytes: Uint8Array): TagQuestion {
  const reader = readerOf(bytes, 'tag question')
  const registry = reader.text(MAX_REGISTRY_BYTES)
  const repository = reader.text(MAX_REPOSITORY_BYTES)
  const tag = reader.text(MAX_TAG_BYTES)
  const maxAgeMs = reader.u32()
  reader.end()
  const question = { registry, repository, tag, maxAgeMs }
  if (!isSound(question)) throw reader.malformed('not the name of a tag')
  return question
}

export function encodeTagAnswer(answer: TagAnswer): Uint8Array {
  const writer = new Writer().u8(KNOWN.indexOf(answer.known))
  if (answer.known !== true) return writer.finish()
  if (!isMediaType(answer.mediaType)) throw new TypeError(`not a media type: "${answer.mediaType.slice(0, 100)}"`)
  writer.digest(answer.digest).text(answer.mediaType, MAX_MEDIA_TYPE_BYTES)
  return writer.size(answer.size).u64(answer.ageMs).finish()
}

/** @throws ShoalError MESSAGE_MALFORMED, MESSAGE_TOO_LARGE */
export function decodeTagAnswer(bytes: Uint8Array): TagAnswer {
  const reader = readerOf(bytes, 'tag answer')
  const known = KNOWN[reader.u8()]
  if (known === undefined) throw reader.malformed('neither known nor unknown')
  const answer = known === true ? readKnown(reader) : { known }
  reader.end()
  return answer
}

function readKnown(reader: Reader): TagAnswer {
  const digest = reader.digest()
  const mediaType = reader.text(MAX_MEDIA_TYPE_BYTES)
  if (!isMediaType(mediaType)) throw reader.malformed('not a media type')
  return { known: true, digest, mediaType, size: reader.size(), ageMs: reader.u64() }
}

function readerOf(bytes: Uint8Array, what: string): Reader {
  const reader = new Reader(bytes, what)
  if (bytes.length > MAX_TAG_MESSAGE_BYTES) throw reader.tooLarge(`${bytes.length} bytes`)
  return reader
}

function isSound({ registry, repository, tag }: TagQuestion): boolean {
  return isRegistryName(registry) && isRepositoryName(repository) && isTag(tag)
}
