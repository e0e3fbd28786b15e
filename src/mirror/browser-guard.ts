import type { IncomingHttpHeaders } from 'node:http'
import { isIP } from 'node:net'

/**
 * Why a request looks like a web page's rather than a registry client's, or `undefined`. A page must not read through
 * a mirror on its visitor's machine: not across origins, and not under a name that was made to point here (DNS rebinding).
 */
export function browserRefusal(headers: IncomingHttpHeaders, listensOnLoopback: boolean): string | undefined {
  const host = headers.host ?? ''
  if (headers.origin !== undefined && headers.origin !== `http://${host}`) return 'requests of web pages are not answered'
  const site = headers['sec-fetch-site']
  if (site !== undefined && site !== 'same-origin' && site !== 'none') return 'requests of web pages are not answered'
  // browsers always say Host
  if (listensOnLoopback && host !== '' && !isLocalHost(host))
    return 'this listener is not known by that name: use its address or localhost'
  return undefined
}

/** Names that nobody out there can point at us: addresses, localhost, and names without a public suffix. */
function isLocalHost(host: string): boolean {
  const name = host
    .replace(/:\d*$/, '')
    .replace(/^\[|\]$/g, '')
    .toLowerCase()
  if (isIP(name) !== 0) return true
  return /^[a-z0-9-]+$/.test(name) || /\.(localhost|internal|local)$/.test(name)
}
