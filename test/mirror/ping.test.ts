import assert from 'node:assert/strict'
import { networkInterfaces } from 'node:os'
import { test } from 'node:test'
import { ShoalError } from '../../src/errors.ts'
import { errorCode, rig } from './rig.ts'

const KELP = 'Basic a2VscDpibGFkZGVyd3JhY2s='
const PASSWORD = { wants: KELP, challenge: 'Basic realm="the \\"inner\\" sea"' }
const options = { defaultUpstream: 'reg.example' }

test('the ping asks for a password when the default upstream does, and lets in who has it', async (t) => {
  const { node, get, head } = await rig(t, options)
  node.upstream.ping = PASSWORD
  for (const ask of [get, head]) {
    const got = await ask('/v2/')
    assert.equal(got.status, 401)
    assert.equal(got.headers['www-authenticate'], 'Basic realm="the ?inner? sea"')
    assert.equal(got.headers['docker-distribution-api-version'], 'registry/2.0')
  }
  assert.equal(errorCode(await get('/v2/')), 'UNAUTHORIZED')
  assert.equal((await get('/v2/', { authorization: KELP })).status, 200)
  assert.equal((await get('/v2/', { authorization: 'Basic d3Jvbmc=' })).status, 401)
})

test('upstream is asked once per identity and minute, also by many at once', async (t) => {
  let now = 0
  const { node, get } = await rig(t, { ...options, now: () => now })
  node.upstream.ping = PASSWORD
  await Promise.all(Array.from({ length: 5 }, () => get('/v2/')))
  await Promise.all(Array.from({ length: 5 }, () => get('/v2/', { authorization: KELP })))
  assert.deepEqual(
    node.upstream.calls.map(({ authorization }) => authorization),
    [undefined, KELP],
  )
  now = 60_001
  await get('/v2/')
  assert.equal(node.upstream.count('challenge'), 3)
})

test('the ping answers 200 while upstream is down, limits, or says nothing for two seconds', async (t) => {
  for (const code of ['ORIGIN_UNREACHABLE', 'ORIGIN_RATE_LIMITED', 'ORIGIN_FORBIDDEN'] as const) {
    const { node, get } = await rig(t, options)
    node.upstream.failure = new ShoalError(code, 'no')
    assert.equal((await get('/v2/')).status, 200)
    assert.equal((await get('/v2/', { authorization: KELP })).status, 200)
  }
  const { node, get } = await rig(t, options)
  node.upstream.before = () => new Promise(() => {})
  const before = performance.now()
  assert.equal((await get('/v2/')).status, 200)
  assert.ok(performance.now() - before < 5_000)
  assert.equal((await get('/v2/')).status, 200)
  assert.equal(node.upstream.count('challenge'), 1)
})

test('a Bearer challenge is not passed on: pulls of what is held must not need a token server', async (t) => {
  for (const challenge of [
    'Bearer realm="https://auth.example/token"',
    'Basic realm="a", Bearer realm="https://auth.example/token"',
  ]) {
    const { node, get } = await rig(t, options)
    node.upstream.ping = { wants: KELP, challenge }
    assert.equal((await get('/v2/')).status, 200)
  }
})

test('without a default upstream there is nobody to ask', async (t) => {
  const { node, get } = await rig(t)
  node.upstream.ping = PASSWORD
  assert.equal((await get('/v2/')).status, 200)
  assert.deepEqual(node.upstream.calls, [])
})

test('a ping that came from this very mirror is answered without asking', async (t) => {
  const { node, get } = await rig(t, { ...options, via: '12D3KooWHere' })
  node.upstream.ping = PASSWORD
  assert.equal((await get('/v2/', { via: '1.1 12D3KooWThere, 1.1 12D3KooWHere' })).status, 200)
  assert.deepEqual(node.upstream.calls, [])
})

test('a password is never asked for over another interface than loopback', async (t) => {
  const outside = Object.values(networkInterfaces())
    .flatMap((addresses) => addresses ?? [])
    .find(({ internal, family }) => !internal && family === 'IPv4')?.address
  if (outside === undefined) return t.diagnostic('this machine has no other interface')
  const { node, port } = await rig(t, { ...options, listen: { host: outside, port: 0 } })
  node.upstream.ping = PASSWORD
  const { status } = await fetch(`http://${outside}:${port}/v2/`)
  assert.equal(status, 200)
  assert.deepEqual(node.upstream.calls, [])
})
