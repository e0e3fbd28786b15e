import { BlockList, isIP } from 'node:net'

const PRIVATE = new BlockList()
for (const [net, bits] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['224.0.0.0', 3],
] as const) {
  PRIVATE.addSubnet(net, bits, 'ipv4')
}
for (const [net, bits] of [
  ['::', 127],
  ['fc00::', 7],
  ['fe80::', 10],
  ['ff00::', 8],
] as const) {
  PRIVATE.addSubnet(net, bits, 'ipv6')
}

/**
 * Whether a registry's name is an address inside: loopback, private, link-local. A client must not be able to make
 * the daemon knock there (cloud metadata, other daemons) unless the operator configured that name as an upstream.
 */
export function isPrivateName(registry: string): boolean {
  const host = registry.replace(/:\d+$/, '').replace(/^\[|\]$/g, '')
  if (host === 'localhost' || host.endsWith('.localhost')) return true
  // a resolver reads 0x7f.1, 127.1 and 2130706433 as addresses too, and no registry's name ends in a number
  if (isIP(host) === 0) return /(^|\.)(0x[0-9a-f]*|\d+)$/.test(host)
  return PRIVATE.check(host, isIP(host) === 6 ? 'ipv6' : 'ipv4')
}

/** Whether an IP address, as a socket tells it, is this host's own loopback. */
export function isLoopback(address: string): boolean {
  return address === '::1' || /^(::ffff:)?127\./.test(address)
}
