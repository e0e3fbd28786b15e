import { ShoalError } from '../../protocols/error.ts'

const REDIRECTS = new Set([301, 302, 303, 307, 308])

export function isRedirect(status: number): boolean {
  return REDIRECTS.has(status)
}

/**
 * Where a redirect leads.
 * @param visited the URLs asked so far, this one included
 * @throws ShoalError ORIGIN_REDIRECT: no or a bad location, a loop, too many, or from https to http
 */
export function redirectTarget(from: URL, location: string | undefined, visited: ReadonlySet<string>, maxRedirects: number): URL {
  const target = location === undefined ? null : URL.parse(location, from)
  if (target === null) throw refused(from, 'nowhere')
  if (!/^https?:$/.test(target.protocol)) throw refused(from, `to ${target.protocol}`)
  if (from.protocol === 'https:' && target.protocol === 'http:') throw refused(from, `from https to http (${target.host})`)
  target.username = ''
  target.password = ''
  target.hash = ''
  if (visited.has(target.href)) throw refused(from, 'in a loop')
  if (visited.size > maxRedirects) throw refused(from, `more than ${maxRedirects} times`)
  return target
}

/** Whether what was meant for one URL's host may be said to the other's: the same host and port, or its https side. */
export function isSameHost(first: URL, second: URL): boolean {
  if (first.origin === second.origin) return true
  const upgraded = first.protocol === 'http:' && second.protocol === 'https:' && first.port === '' && second.port === ''
  return upgraded && first.hostname === second.hostname
}

/** A URL as it may be shown: queries hold signatures. */
export function shownUrl(url: URL): string {
  return `${url.origin}${url.pathname}`
}

function refused(from: URL, where: string): ShoalError {
  return new ShoalError('ORIGIN_REDIRECT', `${shownUrl(from)} redirects ${where}`)
}
