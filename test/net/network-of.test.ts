import assert from 'node:assert/strict'
import { it } from 'node:test'
import { networkOf } from '../../src/net/network-of.ts'

it('one IPv4 address is one network, whatever the port', () => {
  assert.equal(networkOf('/ip4/192.0.2.1/tcp/7402'), 'ip4/192.0.2.1')
  assert.equal(networkOf('/ip4/192.0.2.1/tcp/1/p2p/12D3'), 'ip4/192.0.2.1')
  assert.notEqual(networkOf('/ip4/192.0.2.2/tcp/7402'), networkOf('/ip4/192.0.2.1/tcp/7402'))
})

it('so are the IPv6 addresses that share their first 64 bits, however they are written', () => {
  const same = ['2001:db8::1', '2001:DB8:0:0:ffff::7', '2001:0db8:0000:0000:1:2:3:4', '2001:db8:0::1%eth0']
  for (const host of same) assert.equal(networkOf(`/ip6/${host}/tcp/7402`), 'ip6/2001:db8:0:0', host)
  assert.equal(networkOf('/ip6/::1/tcp/7402'), 'ip6/0:0:0:0')
  assert.equal(networkOf('/ip6/2001:db8:0:1::1/tcp/7402'), 'ip6/2001:db8:0:1')
})

it('a name is one too, and what is no address is none', () => {
  assert.equal(networkOf('/dns4/host.test/tcp/7402'), 'dns4/host.test')
  for (const text of ['', '/', '/ip4', '/ip4/', '/unix/tmp/x', 'nonsense']) assert.equal(networkOf(text), undefined, text)
})
