import { type Digest, parseDigest } from './digest.ts'
import { ShoalError } from './error.ts'

/** What people write to name an image: `nginx`, `ghcr.io/org/app:v1`, `127.0.0.1:5000/app@sha256:…`. */
export interface Reference {
  /** Name of the registry, e.g. `docker.io` or `127.0.0.1:5000`. */
  readonly registry: string
  readonly repository: string
  readonly tag: string | undefined
  /** Where both are given, the digest decides and the tag is a remark. */
  readonly digest: Digest | undefined
}

const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/
const HOST =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/
/** Docker's first name for its registry is still in old references. */
const RENAMED: ReadonlyMap<string, string> = new Map([['index.docker.io', 'docker.io']])
/** The distribution grammar's bound on a whole name. */
const MAX_NAME_LENGTH = 255

/** Whether this may be a registry's name: a host name or address with an optional port. */
export function isRegistryName(text: string): boolean {
  if (text.length > MAX_NAME_LENGTH || !HOST.test(text)) return false
  const port = /:(\d+)$/.exec(text.replace(/^\[.*\]/, ''))?.[1]
  return port === undefined || Number(port) <= 65_535
}

/** Whether this may be a repository's name (OCI distribution spec, "Pulling manifests"). */
export function isRepositoryName(text: string): boolean {
  return text.length <= MAX_NAME_LENGTH && text.split('/').every((part) => COMPONENT.test(part))
}

export function isTag(text: string): boolean {
  return TAG.test(text)
}

/**
 * Parses a reference as docker and podman do: the first component is a registry when it has a dot or a port, or is `localhost`;
 * otherwise the registry is `defaultRegistry`, and a bare name of docker.io means `library/<name>`.
 * Without tag and digest both are `undefined`: the caller says what it means then (usually `latest`).
 * @throws ShoalError REFERENCE_INVALID, DIGEST_INVALID
 */
export function parseReference(text: string, defaultRegistry = 'docker.io'): Reference {
  const [named, digestText, ...more] = text.split('@')
  if (named === undefined || more.length > 0) throw invalid(text, 'more than one @')
  const tagAt = named.lastIndexOf(':') > named.lastIndexOf('/') ? named.lastIndexOf(':') : named.length
  const tag = tagAt === named.length ? undefined : named.slice(tagAt + 1)
  if (tag !== undefined && !isTag(tag)) throw invalid(text, `"${tag.slice(0, 100)}" can't be a tag`)
  const name = named.slice(0, tagAt)
  const slash = name.indexOf('/')
  const head = slash === -1 ? '' : name.slice(0, slash)
  const hasRegistry = /[.:]/.test(head) || head === 'localhost'
  const registry = hasRegistry ? (RENAMED.get(head) ?? head) : defaultRegistry
  if (!isRegistryName(registry)) throw invalid(text, `"${registry.slice(0, 100)}" can't be a registry`)
  let repository = hasRegistry ? name.slice(slash + 1) : name
  if (registry === 'docker.io' && !repository.includes('/')) repository = `library/${repository}`
  if (!isRepositoryName(repository))
    throw invalid(text, `"${repository.slice(0, 100)}" can't be a repository (lower case, parts divided by /)`)
  return { registry, repository, tag, digest: digestText === undefined ? undefined : parseDigest(digestText) }
}

export function formatReference(reference: Reference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`
  return `${reference.registry}/${reference.repository}${tag}${digest}`
}

function invalid(text: string, why: string): ShoalError {
  return new ShoalError(
    'REFERENCE_INVALID',
    `not an image reference: "${text.slice(0, 300)}": ${why}; expected [registry/]repository[:tag][@digest]`,
  )
}
