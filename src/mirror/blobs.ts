import type { Digest } from '../../protocols/digest.ts'
import { contentRange } from '../../protocols/http-range.ts'
import type { OpenBlob } from '../download/download.ts'
import { ShoalError } from '../errors.ts'
import type { BlobMeta } from '../store/store.ts'
import { type Answer, type AnswerHeaders, headAnswer, notModified, refusalAnswer, type Slice } from './answer.ts'
import type { Answered } from './cuts.ts'
import { refusal } from './oci-errors.ts'
import { rangeStart, wantedRange } from './range.ts'
import type { Asked, Serving } from './serving.ts'
import { etagOf, noneMatchNames, rangeStillMeant } from './validators.ts'

/** A blob, or one range of it. */
export async function answerBlob(serving: Serving, asked: Asked, digest: Digest): Promise<Answer> {
  const range = rangeStillMeant(asked.headers['if-range']?.toString(), digest) ? asked.headers.range : undefined
  const start = rangeStart(range)
  if (asked.hasFallback && serving.cuts.refuses(digest, start)) {
    throw new ShoalError('BLOB_UNKNOWN', `${digest} was cut a moment ago: go on at the registry`)
  }
  const known = serving.cuts.lately(digest)
  if (known !== undefined && start !== undefined && start > 0 && !asked.head) {
    return await laterPart(serving, asked, digest, range, known)
  }
  const blob = await serving.open({ ...asked, kind: 'blob' }, digest)
  const answer = answerOpen(serving, asked, digest, range, blob)
  // only a body needs it any longer
  if (!isSlice(answer.body)) await blob[Symbol.asyncDispose]()
  return answer
}

/** Goes on with a blob of which a part was answered: headers at once, whatever became of it since. */
async function laterPart(
  serving: Serving,
  asked: Asked,
  digest: Digest,
  range: string | undefined,
  { size, meta }: Answered,
): Promise<Answer> {
  await serving.require({ ...asked, kind: 'blob' }, digest, { meta }, await serving.backend.stat(digest))
  const open = () => serving.open({ ...asked, kind: 'blob' }, digest)
  return ranged(serving, asked, digest, { range, size, meta, headersFirst: true, open })
}

function answerOpen(serving: Serving, asked: Asked, digest: Digest, range: string | undefined, blob: OpenBlob): Answer {
  const headers = headersOf(digest, isPrivate(serving, digest, blob.meta))
  if (noneMatchNames(asked.headers['if-none-match'], digest)) return notModified(headers)
  // a range of HEAD means nothing (RFC 9110, 14.2)
  if (asked.head) return headAnswer(blob.size, headers)
  return ranged(serving, asked, digest, { range, size: blob.size, meta: blob.meta, headersFirst: false, open: async () => blob })
}

interface Body extends Pick<Slice, 'open' | 'headersFirst'> {
  readonly range: string | undefined
  readonly size: number
  readonly meta: BlobMeta
}

function ranged(serving: Serving, asked: Asked, digest: Digest, { range, size, meta, headersFirst, open }: Body): Answer {
  const wanted = wantedRange(range, size)
  if (wanted === 'unsatisfiable') {
    const headers = { 'content-range': contentRange(undefined, size), 'accept-ranges': 'bytes' }
    return refusalAnswer(refusal(416, 'RANGE_INVALID', `${digest} has ${size} bytes`, headers))
  }
  const { start, end } = wanted ?? { start: 0, end: size }
  const headers: AnswerHeaders = {
    ...headersOf(digest, isPrivate(serving, digest, meta)),
    'content-length': end - start,
    ...(wanted === undefined ? {} : { 'content-range': contentRange(wanted, size) }),
  }
  const body: Slice = { digest, start, end, headersFirst, open, mayGoOn: watch(serving, asked, digest) }
  return { status: wanted === undefined ? 200 : 206, headers, body }
}

/** Asks anew only when other owners have come to be known since the last time. */
function watch(serving: Serving, asked: Asked, digest: Digest): Slice['mayGoOn'] {
  let settled: string | undefined
  return async (blob) => {
    const now = owners([blob.meta, serving.backend.active(digest)])
    if (now === settled) return
    await serving.require({ ...asked, kind: 'blob' }, digest, blob)
    settled = now
  }
}

function owners(metas: readonly (BlobMeta | undefined)[]): string {
  return metas.map((meta) => meta?.restrictedTo?.join(' ') ?? '').join('|')
}

function isPrivate(serving: Serving, digest: Digest, meta: BlobMeta | undefined): boolean {
  return owners([meta, serving.backend.active(digest)]) !== '|'
}

function headersOf(digest: Digest, isPrivate: boolean): AnswerHeaders {
  return {
    'docker-content-digest': String(digest),
    etag: etagOf(digest),
    'accept-ranges': 'bytes',
    'content-type': 'application/octet-stream',
    'cache-control': `${isPrivate ? 'private, ' : ''}max-age=31536000, immutable`,
  }
}

function isSlice(body: Answer['body']): body is Slice {
  return body !== undefined && 'digest' in body
}
