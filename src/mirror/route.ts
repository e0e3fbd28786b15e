import { type Digest, parseDigest } from '../../protocols/digest.ts'
import { isRegistryName, isRepositoryName, isTag } from '../../protocols/reference.ts'
import { type Refusal, refusal } from './oci-errors.ts'

/** What a request names: the registry it is about, and the repository there. */
export interface Named {
  readonly registry: string
  readonly repository: string
  /** The path up to and without the repository's own part, e.g. `/v2/` or `/v2/docker.io/`: where links must lead back to. */
  readonly prefix: string
  /** The `ns` parameter, if there was one: it is echoed. */
  readonly ns: string | undefined
}

/** A request as values. */
export type Route =
  | { readonly type: 'ping' }
  | ({ readonly type: 'manifest'; readonly reference: Digest | string } & Named)
  | ({ readonly type: 'blob'; readonly digest: Digest } & Named)
  | ({ readonly type: 'tags' | 'referrers'; readonly path: string } & Named)
  | { readonly type: 'refused'; readonly refusal: Refusal }

const OBJECT = /^\/v2\/(.+)\/(manifests|blobs|referrers)\/([^/]+)$/
const TAGS = /^\/v2\/(.+)\/tags\/list$/
const PULLS = new Set(['GET', 'HEAD'])

/**
 * Reads method and URL. The registry is the `ns` parameter; without one the path's first component when that looks like a
 * host (a dot, a port, or `localhost`); else the listener's default. With both, `ns` wins: a registry may well have
 * repositories named like hosts (`harbor.corp/docker.io/library/nginx`); a first component that repeats `ns` is dropped.
 */
export function parseRoute(method: string, url: string, defaultUpstream: string | undefined): Route {
  const [path, query] = split(url)
  if (path === '/v2' || path === '/v2/') return onlyPulls(method, { type: 'ping' })
  const tags = TAGS.exec(path)
  const object = tags === null ? OBJECT.exec(path) : null
  const name = tags?.[1] ?? object?.[1]
  if (name === undefined) return unknownPath(method, path)
  const named = parseName(name, query, defaultUpstream)
  if ('refusal' in named) return named
  if (object === null) return onlyPulls(method, { type: 'tags', path: relayed(named, 'tags/list', query), ...named })
  return onlyPulls(method, parseObject(named, object[2] as string, decoded(object[3] as string), query))
}

function parseObject(named: Named, kind: string, text: string, query: URLSearchParams): Route {
  if (kind === 'manifests' && !text.includes(':')) {
    if (isTag(text)) return { type: 'manifest', reference: text, ...named }
    return refuse(400, 'MANIFEST_INVALID', 'that can be neither a tag nor a digest')
  }
  const digest = digestOrUndefined(text)
  if (digest === undefined) return refuse(400, 'DIGEST_INVALID', 'a digest is sha256:<64 lower-case hex> or sha512:<128>')
  if (kind === 'manifests') return { type: 'manifest', reference: digest, ...named }
  if (kind === 'blobs') return { type: 'blob', digest, ...named }
  return { type: 'referrers', path: relayed(named, `referrers/${digest}`, query), ...named }
}

function parseName(
  name: string,
  query: URLSearchParams,
  defaultUpstream: string | undefined,
): Named | { type: 'refused'; refusal: Refusal } {
  const all = query.getAll('ns')
  const ns = all[0]?.toLowerCase()
  if (all.length > 1 || (ns !== undefined && !isRegistryName(ns))) {
    return refuse(400, 'NAME_INVALID', 'ns takes one registry name, host[:port]')
  }
  const slash = name.indexOf('/')
  const head = slash === -1 ? '' : name.slice(0, slash).toLowerCase()
  const inPath = ns === undefined ? looksLikeHost(head) : head === ns
  const registry = ns ?? (inPath ? head : defaultUpstream)
  const rest = inPath ? name.slice(slash + 1) : name
  if (!isRepositoryName(rest) || (inPath && !isRegistryName(head))) {
    return refuse(400, 'NAME_INVALID', 'a repository is lower-case parts divided by single slashes, at most 255 characters')
  }
  if (registry === undefined) {
    return refuse(404, 'NAME_UNKNOWN', 'which registry? Give ?ns=, or /v2/<registry>/<repository>/…, or a default upstream')
  }
  const repository = registry === 'docker.io' && !rest.includes('/') ? `library/${rest}` : rest
  return { registry, repository, prefix: inPath ? `/v2/${name.slice(0, slash)}/` : '/v2/', ns }
}

function looksLikeHost(component: string): boolean {
  return /[.:]/.test(component) || component === 'localhost'
}

function onlyPulls(method: string, route: Route): Route {
  if (route.type === 'refused' || PULLS.has(method)) return route
  return notAllowed()
}

function notAllowed(): Route {
  return refuse(405, 'UNSUPPORTED', 'this is a pull-only mirror', { allow: 'GET, HEAD' })
}

function unknownPath(method: string, path: string): Route {
  if (!PULLS.has(method) && path.startsWith('/v2/')) return notAllowed()
  return refuse(404, 'UNSUPPORTED', 'no such path in the pull API')
}

/** The path to ask upstream: the query as it came, without `ns`, which is meant for us. */
function relayed(named: Named, rest: string, query: URLSearchParams): string {
  const passed = new URLSearchParams(query)
  passed.delete('ns')
  const text = passed.toString()
  return `/v2/${named.repository}/${rest}${text === '' ? '' : `?${text}`}`
}

/** Not `new URL`: that would resolve `..` and hide it. Absolute-form targets are a proxy's, and nothing we know. */
function split(url: string): [path: string, query: URLSearchParams] {
  const at = url.indexOf('?')
  return at === -1 ? [url, new URLSearchParams()] : [url.slice(0, at), new URLSearchParams(url.slice(at + 1))]
}

/** Some clients write the colon of a digest as %3A; names never need escapes, and get none. */
function decoded(text: string): string {
  return text.replace(/%3a/gi, ':')
}

function digestOrUndefined(text: string): Digest | undefined {
  try {
    return parseDigest(text)
  } catch {
    return undefined
  }
}

function refuse(status: number, code: string, message: string, headers: Readonly<Record<string, string>> = {}) {
  return { type: 'refused', refusal: refusal(status, code, message, headers) } as const
}
