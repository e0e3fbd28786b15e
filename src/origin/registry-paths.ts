import { ShoalError } from '../../protocols/error.ts'
import { isRepositoryName } from '../../protocols/reference.ts'

/** Everything a manifest may be: a registry answers 404 for a type that was not named, even to `Accept: *` + `/*`. */
export const acceptedManifests = [
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
  '*/*',
].join(', ')

/** What of a relayed answer's headers means something to a client. */
export const RELAYED_HEADERS: readonly string[] = [
  'content-type',
  'content-length',
  'docker-content-digest',
  'etag',
  'link',
  'oci-filters-applied',
  'warning',
]

const RELAYED = /^\/v2\/(.+)\/(?:tags\/list|referrers\/[^/]+|manifests\/[^/]+|blobs\/[^/]+)$/

/**
 * The path and query of a pull-API request, and the repository it is about.
 * @throws ShoalError REQUEST_INVALID for anything else
 */
export function parseRelayPath(path: string): { readonly path: string; readonly repository: string } {
  const url = path.length > 4_096 ? null : URL.parse(`http://registry${path}`)
  const repository = RELAYED.exec(url?.pathname ?? '')?.[1]
  if (url === null || url.host !== 'registry' || repository === undefined || !isRepositoryName(repository))
    throw new ShoalError('REQUEST_INVALID', `not a request that a registry can be asked: "${path.slice(0, 200)}"`)
  return { path: `${url.pathname}${url.search}`, repository }
}
