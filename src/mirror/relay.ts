import { ShoalError } from '../errors.ts'
import { type Answer, bytesAnswer, refusalAnswer } from './answer.ts'
import { within } from './deadline.ts'
import { bareType } from './media-type.ts'
import { refusalOf } from './oci-errors.ts'
import type { Named } from './route.ts'
import type { Asked, Serving } from './serving.ts'

/** A page of tags; upstream pages long lists. */
const MAX_BYTES = 16 * 1024 * 1024
const TIMEOUT_MS = 20_000
const PASSED = ['oci-filters-applied', 'retry-after'] as const

/**
 * Tags lists and referrers change and belong to whoever asks: upstream answers each request, with that client's own credentials,
 * and nothing of it is kept.
 */
export async function answerRelayed(
  serving: Serving,
  asked: Asked & { overLoopback: boolean },
  named: Named & { path: string },
): Promise<Answer> {
  const { registry, authorization, via } = asked
  const request = { registry, path: named.path, accept: asked.headers.accept, authorization, via }
  const ask = async (signal: AbortSignal) => {
    const given = await serving.backend.origin.relay(request, { signal })
    return { ...given, bytes: await collect(given.body, registry) }
  }
  const given = await within(TIMEOUT_MS, registry, ask, { signal: asked.signal })
  if (given.status === 401) {
    const unauthorized = new ShoalError('ORIGIN_UNAUTHORIZED', `${registry} wants credentials`, {
      detail: { challenge: given.headers['www-authenticate'] },
    })
    return refusalAnswer(refusalOf(unauthorized, 'name', asked.overLoopback))
  }
  if (given.status >= 500 || given.status < 200 || (given.status >= 300 && given.status < 400)) {
    throw new ShoalError('ORIGIN_FAILED', `${registry} answered ${given.status}`)
  }
  const headers: Record<string, string> = { 'content-type': bareType(given.headers['content-type']) ?? 'application/json' }
  for (const name of PASSED) {
    const value = given.headers[name]
    if (value !== undefined && isPrintable(value)) headers[name] = value
  }
  const link = leadBack(given.headers.link, named)
  return bytesAnswer(given.status, given.bytes, link === undefined ? headers : { ...headers, link })
}

/** The next page, asked of us again: upstream knows neither our prefix nor `ns`. */
function leadBack(link: string | undefined, named: Named): string | undefined {
  const match = /^\s*<([^>]{1,4096})>\s*;\s*rel="?next"?\s*$/i.exec(link ?? '')
  if (match === null || !URL.canParse(match[1] as string, 'http://upstream')) return undefined
  const url = new URL(match[1] as string, 'http://upstream')
  if (!url.pathname.startsWith(`/v2/${named.repository}/`)) return undefined
  if (named.ns !== undefined) url.searchParams.set('ns', named.ns)
  return `<${named.prefix}${url.pathname.slice('/v2/'.length)}${url.search}>; rel="next"`
}

async function collect(body: AsyncIterable<Uint8Array>, registry: string): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of body) {
    length += chunk.length
    if (length > MAX_BYTES) throw new ShoalError('ORIGIN_PROTOCOL', `${registry} gives a page of more than ${MAX_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks, length)
}

function isPrintable(text: string): boolean {
  return /^[\x20-\x7e]{1,4096}$/.test(text)
}
