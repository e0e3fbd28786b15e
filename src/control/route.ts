import { type Digest, parseDigest } from '../../protocols/digest.ts'
import { ShoalError } from '../../protocols/error.ts'
import { parsePeerId } from '../../protocols/peer-id.ts'
import { parseReference, type Reference } from '../../protocols/reference.ts'
import type { OriginSource } from '../origin/origin.ts'

/** What a request to the control listener means. */
export type Route =
  | {
      readonly type: 'blob'
      readonly method: 'GET' | 'HEAD' | 'POST' | 'DELETE'
      readonly digest: Digest
      readonly origin: OriginSource | undefined
    }
  | { readonly type: 'add'; readonly mediaType: string | undefined }
  | { readonly type: 'resolve'; readonly reference: Reference }
  | {
      readonly type: 'ban'
      readonly method: 'GET' | 'HEAD' | 'PUT' | 'DELETE'
      readonly peerId: string
      readonly forMs: number | undefined
      readonly reason: string | undefined
    }
  | { readonly type: 'list' | 'status' | 'peers' | 'bans' | 'health' | 'ready' | 'metrics' }
  | { readonly type: 'unknown' }
  | { readonly type: 'method'; readonly allow: string }

const PAGES: Readonly<Record<string, 'status' | 'peers' | 'bans' | 'health' | 'ready' | 'metrics'>> = Object.freeze({
  '/v1/status': 'status',
  '/v1/peers': 'peers',
  '/v1/bans': 'bans',
  '/healthz': 'health',
  '/readyz': 'ready',
  '/metrics': 'metrics',
})
const BLOBS = '/v1/blobs'
const RESOLVE = '/v1/images/resolve'
const BANS = '/v1/bans/'
const BAN_METHODS = ['GET', 'HEAD', 'PUT', 'DELETE'] as const
const BLOB_METHODS = ['GET', 'HEAD', 'POST', 'DELETE'] as const

/** @throws ShoalError DIGEST_INVALID, PEER_ID_INVALID, REFERENCE_INVALID, REQUEST_INVALID */
export function route(method: string, target: string): Route {
  const url = URL.canParse(target, 'http://control') ? new URL(target, 'http://control') : undefined
  if (url === undefined || !target.startsWith('/')) throw new ShoalError('REQUEST_INVALID', 'the request target is not a path')
  const { pathname, searchParams } = url
  const page = Object.hasOwn(PAGES, pathname) ? PAGES[pathname] : undefined
  if (page !== undefined) return reading(method) ? { type: page } : { type: 'method', allow: 'GET, HEAD' }
  if (pathname === RESOLVE) {
    if (!reading(method)) return { type: 'method', allow: 'GET, HEAD' }
    return { type: 'resolve', reference: parseReference(required(searchParams, 'reference')) }
  }
  if (pathname === BLOBS) {
    if (method === 'POST') return { type: 'add', mediaType: mediaType(searchParams.get('mediaType')) }
    return reading(method) ? { type: 'list' } : { type: 'method', allow: 'GET, HEAD, POST' }
  }
  if (pathname.startsWith(BANS)) return routeBan(method, pathname.slice(BANS.length), searchParams)
  if (!pathname.startsWith(`${BLOBS}/`)) return { type: 'unknown' }
  const digest = parseDigest(decoded(pathname.slice(BLOBS.length + 1)))
  const known = BLOB_METHODS.find((m) => m === method)
  if (known === undefined) return { type: 'method', allow: BLOB_METHODS.join(', ') }
  return { type: 'blob', method: known, digest, origin: parseOrigin(searchParams.get('origin'), searchParams.get('kind')) }
}

function routeBan(method: string, name: string, params: URLSearchParams): Route {
  const peerId = parsePeerId(decoded(name))
  const known = BAN_METHODS.find((m) => m === method)
  if (known === undefined) return { type: 'method', allow: BAN_METHODS.join(', ') }
  const forMs = params.get('forMs')
  if (forMs !== null && !/^\d{1,15}$/.test(forMs)) throw new ShoalError('REQUEST_INVALID', 'forMs is a number of milliseconds')
  return {
    type: 'ban',
    method: known,
    peerId,
    forMs: forMs === null ? undefined : Number(forMs),
    reason: params.get('reason') ?? undefined,
  }
}

/**
 * An HTTP(S) URL of the content, or `registry/repository`, whose blob or (`kind=manifest`) manifest it is.
 * @throws ShoalError REFERENCE_INVALID, REQUEST_INVALID
 */
export function parseOrigin(text: string | null, kind: string | null): OriginSource | undefined {
  if (text === null) return undefined
  if (kind !== null && kind !== 'blob' && kind !== 'manifest') {
    throw new ShoalError('REQUEST_INVALID', `kind is blob or manifest, not "${kind.slice(0, 100)}"`)
  }
  if (/^https?:\/\//i.test(text)) {
    if (!URL.canParse(text)) throw new ShoalError('REQUEST_INVALID', 'the origin is not a URL')
    return { type: 'url', url: new URL(text) }
  }
  const { registry, repository, tag, digest } = parseReference(text)
  if (tag !== undefined || digest !== undefined) {
    throw new ShoalError(
      'REFERENCE_INVALID',
      `an origin is registry/repository or a URL, without tag and digest: "${text.slice(0, 300)}"`,
    )
  }
  return { type: 'registry', registry, repository, kind: kind ?? 'blob' }
}

function reading(method: string): boolean {
  return method === 'GET' || method === 'HEAD'
}

function required(params: URLSearchParams, name: string): string {
  const value = params.get(name)
  if (value === null || value === '') throw new ShoalError('REQUEST_INVALID', `the parameter ${name} is missing`)
  return value
}

/** It is sent back as a header later: only what a header may hold. */
function mediaType(value: string | null): string | undefined {
  if (value === null) return undefined
  if (!/^[\w!#$&^.+-]{1,127}\/[\w!#$&^.+-]{1,127}$/.test(value))
    throw new ShoalError('REQUEST_INVALID', 'mediaType is not a media type')
  return value
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
