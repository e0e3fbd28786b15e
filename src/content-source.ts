import { createReadStream } from 'node:fs'
import { parseReference } from '../protocols/reference.ts'
import { ShoalError } from './errors.ts'
import type { OriginSource } from './origin/origin.ts'

/**
 * Reads what a caller gave as an origin: an HTTP(S) URL, or a registry reference whose repository has the blob or manifest.
 * @throws ShoalError REFERENCE_INVALID
 */
export function parseOrigin(origin: string | URL | OriginSource): readonly OriginSource[] {
  if (typeof origin === 'object' && !(origin instanceof URL)) return [origin]
  if (origin instanceof URL || /^https?:\/\//i.test(origin)) {
    const url = URL.canParse(String(origin)) ? new URL(origin) : undefined
    if (url === undefined || !/^https?:$/.test(url.protocol)) {
      throw new ShoalError('REFERENCE_INVALID', `not an HTTP(S) URL: "${String(origin).slice(0, 200)}"`)
    }
    return [{ type: 'url', url }]
  }
  const { registry, repository } = parseReference(origin)
  // a digest does not say which of the two it names
  return (['blob', 'manifest'] as const).map((kind) => ({ type: 'registry', registry, repository, kind }))
}

/** The bytes of what `node.add` takes: a path, a `file:` URL, bytes in memory, or a stream. */
export function openContent(content: string | URL | AsyncIterable<Uint8Array> | Uint8Array): AsyncIterable<Uint8Array> {
  if (typeof content === 'string' || content instanceof URL) return createReadStream(content, { highWaterMark: 1024 * 1024 })
  if (content instanceof Uint8Array) return inMemory(content)
  return content
}

async function* inMemory(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}
