import type { lookup as dnsLookup } from 'node:dns'
import { BlockList, isIP, type LookupFunction } from 'node:net'
import { ShoalError } from '../../protocols/error.ts'

/** Special-purpose blocks (IANA registries, RFC 6890 and successors): nothing that a stranger names may lead there. */
const SPECIAL = new BlockList()
for (const block of [
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  '::/96',
  '64:ff9b::/96',
  '64:ff9b:1::/48',
  '100::/64',
  '2001::/23',
  '2001:db8::/32',
  '2002::/16',
  'fc00::/7',
  'fe80::/9',
  'ff00::/8',
]) {
  const [network = '', prefix] = block.split('/')
  SPECIAL.addSubnet(network, Number(prefix), isIP(network) === 6 ? 'ipv6' : 'ipv4')
}

/** Whether an IP address is one of the public internet; IPv4 written as IPv6 counts as what it maps to. */
export function isPublicAddress(address: string): boolean {
  const family = isIP(address)
  return family !== 0 && !SPECIAL.check(address, family === 6 ? 'ipv6' : 'ipv4')
}

/** The address in a URL's host, if it is one. */
export function addressIn(url: URL): string | undefined {
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  return isIP(host) === 0 ? undefined : host
}

/** Whether a URL names this very host: `localhost` or a loopback address. */
export function isLoopbackUrl(url: URL): boolean {
  const address = addressIn(url)
  if (address === undefined) return url.hostname === 'localhost' || url.hostname.endsWith('.localhost')
  return address === '::1' || address.startsWith('127.')
}

/** How names become addresses; tests give their own. */
export interface Resolver {
  readonly lookup: typeof dnsLookup
  readonly isPublic: (address: string) => boolean
}

/** A lookup for sockets that refuses names with any address that is not public: the check and the connection use one answer. */
export function publicLookup({ lookup, isPublic }: Resolver): LookupFunction {
  return (hostname, options, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, [])
      const [first] = addresses
      if (first === undefined || !addresses.every(({ address }) => isPublic(address))) return callback(notPublic(hostname), [])
      return options.all === true ? callback(null, addresses) : callback(null, first.address, first.family)
    })
  }
}

export function notPublic(host: string): ShoalError {
  return new ShoalError(
    'ACCESS_DENIED',
    `"${host}" is not on the public internet and is no configured upstream: name it with --upstream if it is meant`,
    { detail: { host } },
  )
}
