import { isIP } from 'node:net'
import { multiaddr } from '@multiformats/multiaddr'
import { ShoalError } from '../protocols/error.ts'
import { isRegistryName } from '../protocols/reference.ts'

export interface HostPort {
  readonly host: string
  /** 0 picks a free one. */
  readonly port: number
}

const HOST_PORT = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})$/

/** Parses `HOST:PORT`, an IPv6 address in brackets. @throws ShoalError ADDRESS_INVALID */
export function parseHostPort(text: string): HostPort {
  const match = HOST_PORT.exec(text)
  const [, v6, name, digits] = match ?? []
  const host = v6 ?? name
  const port = Number(digits)
  if (host === undefined || port > 65_535 || (v6 !== undefined && isIP(v6) !== 6)) {
    throw new ShoalError('ADDRESS_INVALID', `not HOST:PORT: "${text.slice(0, 100)}"; for example 127.0.0.1:7400 or [::1]:7400`)
  }
  return { host, port }
}

export function formatHostPort({ host, port }: HostPort): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** Whether only this host can reach a listener there. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

export function isMultiaddr(text: string): boolean {
  try {
    multiaddr(text)
    return text.startsWith('/') && text !== '/'
  } catch {
    return false
  }
}

/** Parses `NAME=URL` of a registry. @throws ShoalError CONFIG_INVALID */
export function parseNamedUrl(text: string): [name: string, url: URL] {
  const at = text.indexOf('=')
  const name = text.slice(0, Math.max(at, 0))
  const url = URL.canParse(text.slice(at + 1)) ? new URL(text.slice(at + 1)) : undefined
  if (at < 1 || !isRegistryName(name)) throw new ShoalError('CONFIG_INVALID', 'the part before = is not a registry name')
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    throw new ShoalError('CONFIG_INVALID', 'the part after = is not an http or https URL')
  }
  if (url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') {
    throw new ShoalError('CONFIG_INVALID', 'the URL may not hold credentials, a query or a fragment')
  }
  return [name, url]
}

/** The name most like the one given, if it is near enough to have been meant. */
export function closest<K extends string>(name: string, names: readonly K[]): K | undefined {
  const limit = Math.max(1, Math.floor(name.length / 3))
  const ranked = names
    .map((n) => ({ n, distance: editDistance(normal(name), normal(n)) }))
    .sort((a, b) => a.distance - b.distance)
  const [best] = ranked
  return best !== undefined && best.distance <= limit ? best.n : undefined
}

function normal(name: string): string {
  return name.slice(0, 64).toLowerCase().replace(/[-_]/g, '')
}

/** Levenshtein's, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const substituted = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, substituted))
    }
    row = next
  }
  return row[b.length] as number
}
