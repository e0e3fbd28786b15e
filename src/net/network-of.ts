/** An IPv6 host is given a network of its own to choose addresses from. */
const IPV6_GROUPS = 4

/**
 * The network that an address is in, so that one host does not pass for many: an IPv4 address itself, the first 64 bits of an IPv6
 * address, a name. `undefined` for anything else.
 */
export function networkOf(address: string): string | undefined {
  const [, kind, host] = address.split('/')
  if (kind === undefined || host === undefined || host === '') return undefined
  if (kind === 'ip6') return `ip6/${firstGroups(host)}`
  return kind === 'ip4' || kind.startsWith('dns') ? `${kind}/${host}` : undefined
}

function firstGroups(host: string): string {
  const [before = '', after] = host.split('%', 1).join('').toLowerCase().split('::')
  const groups = before === '' ? [] : before.split(':')
  const behind = after === undefined || after === '' ? [] : after.split(':')
  const zeros = after === undefined ? 0 : Math.max(0, 8 - groups.length - behind.length)
  const all = [...groups, ...Array<string>(zeros).fill('0'), ...behind]
  return all
    .slice(0, IPV6_GROUPS)
    .map((group) => group.replace(/^0+(?=.)/, ''))
    .join(':')
}
