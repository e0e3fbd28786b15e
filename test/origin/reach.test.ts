import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { type TestContext, test } from 'node:test'
import type { Resolver } from '../../src/origin/address.ts'
import { isPublicAddress } from '../../src/origin/address.ts'
import { HttpClient } from '../../src/origin/http.ts'
import { ORIGIN_DEFAULTS } from '../../src/origin/limits.ts'
import { openFaultyOrigin } from '../helpers/faulty-origin.ts'
import { hostLimits, openRig, withCode } from './rig.ts'

/** Counts connections: there must be none. */
async function trap(t: TestContext): Promise<{ readonly port: number; connections: number }> {
  const caught = { port: 0, connections: 0 }
  const server = createServer((socket) => {
    caught.connections++
    socket.destroy()
  }).listen(0, '127.0.0.1')
  t.after(() => server.close())
  await once(server, 'listening')
  caught.port = (server.address() as { port: number }).port
  return caught
}

test('a registry that no operator named may not be on this host or in a private network', async (t) => {
  const rig = await openRig(t)
  const caught = await trap(t)
  const hosts = [
    '127.0.0.1',
    'localhost',
    'x.localhost',
    '[::1]',
    '2130706433',
    '0x7f.1',
    '127.1',
    '[::ffff:127.0.0.1]',
    'registry.example.com',
  ]
  for (const host of hosts) {
    const registry = `${host}:${caught.port}`
    const reference = { registry, repository: 'library/app', tag: 'v1' }
    await assert.rejects(rig.origin.resolveTag(reference, { signal: t.signal }), withCode('ACCESS_DENIED'), host)
    const source = { type: 'registry', registry, repository: 'library/app', kind: 'blob' } as const
    await assert.rejects(
      rig.origin.open(source, rig.layer.digest, { start: 0 }, { signal: t.signal }),
      withCode('ACCESS_DENIED'),
      host,
    )
  }
  for (const registry of ['10.0.0.1', '169.254.169.254', '[fd00::1]'])
    await assert.rejects(rig.origin.relay({ registry, path: '/v2/a/tags/list' }, { signal: t.signal }), withCode('ACCESS_DENIED'))
  assert.equal(caught.connections, 0)
})

test('what is no host and port is no registry', async (t) => {
  const rig = await openRig(t)
  for (const registry of ['', 'a/b', 'user@a', 'a:b', 'http://a', 'a#b', ' a'])
    await assert.rejects(
      rig.origin.relay({ registry, path: '/v2/a/tags/list' }, { signal: t.signal }),
      withCode('REFERENCE_INVALID'),
      registry,
    )
})

/** A client to which this host is the public internet under its names, but not by its addresses. */
function publicClient(t: TestContext): HttpClient {
  const lookup = ((_name: string, _options: unknown, callback: (error: null, addresses: unknown) => void) =>
    callback(null, [{ address: '127.0.0.1', family: 4 }])) as unknown as Resolver['lookup']
  let first = true
  const isPublic = (address: string) => {
    const isFirst = first
    first = false
    return isFirst || isPublicAddress(address)
  }
  const client = new HttpClient({ ...ORIGIN_DEFAULTS, limits: hostLimits(), resolver: { lookup, isPublic }, userAgent: 'test' })
  t.after(() => client[Symbol.asyncDispose]())
  return client
}

test('a public registry can not redirect into the private network, by address or by name', async (t) => {
  for (const host of ['127.0.0.1', 'metadata.example.com']) {
    const registry = await openFaultyOrigin()
    t.after(() => registry.close())
    const caught = await trap(t)
    registry.faults = { redirect: () => `http://${host}:${caught.port}/latest` }
    const url = new URL(`http://registry.example.com:${registry.port}/v2/x`)
    await assert.rejects(
      publicClient(t).send({ url, method: 'GET', reach: 'public' }, { signal: t.signal }),
      withCode('ACCESS_DENIED'),
    )
    assert.equal(registry.requests.length, 1)
    assert.equal(caught.connections, 0)
  }
})

test('a name that does not exist is an unreachable origin', async (t) => {
  const lookup = ((name: string, _options: unknown, callback: (error: Error) => void) =>
    callback(Object.assign(new Error(`getaddrinfo ENOTFOUND ${name}`), { code: 'ENOTFOUND' }))) as unknown as Resolver['lookup']
  for (const reach of ['any', 'public'] as const) {
    const client = new HttpClient({
      ...ORIGIN_DEFAULTS,
      limits: hostLimits(),
      resolver: { lookup, isPublic: isPublicAddress },
      userAgent: 'test',
    })
    t.after(() => client[Symbol.asyncDispose]())
    const url = new URL('http://nowhere.example.com/')
    await assert.rejects(
      client.send({ url, method: 'GET', reach }, { signal: t.signal }),
      withCode('ORIGIN_UNREACHABLE', /ENOTFOUND/),
    )
  }
})
