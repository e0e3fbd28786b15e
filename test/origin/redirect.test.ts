import assert from 'node:assert/strict'
import { test } from 'node:test'
import { basic, openFaultyOrigin } from '../helpers/faulty-origin.ts'
import { collect, openRig, REPOSITORY, withCode } from './rig.ts'

const ALICE = basic('alice', 'secret')

test('a blob is followed to another host, with its range and without the credentials', async (t) => {
  const rig = await openRig(t)
  const storage = await openFaultyOrigin()
  t.after(() => storage.close())
  storage.addImage(REPOSITORY, 'v1', rig.image)
  rig.registry.faults = {
    auth: { type: 'basic', username: 'alice', password: 'secret' },
    redirect: (path) => `${storage.url}${path}?X-Signature=secret`,
  }
  const body = await rig.open({ start: 1000, end: 2000 }, ALICE)
  assert.equal(body.usedAuthorization, true)
  assert.ok((await collect(body)).equals(rig.bytes(1000, 2000)))
  assert.deepEqual(rig.registry.authorizations, [undefined, ALICE])
  assert.deepEqual(storage.authorizations, [undefined])
  assert.equal(storage.requests[0]?.range, 'bytes=1000-1999')
})

test('a redirect on the same host keeps the credentials', async (t) => {
  const rig = await openRig(t, { login: 'alice:secret' })
  const blob = `/v2/${REPOSITORY}/blobs/${rig.layer.digest}`
  rig.registry.faults = {
    auth: { type: 'basic', username: 'alice', password: 'secret' },
    redirect: (path) => (path.endsWith('?moved') ? undefined : `${blob}?moved`),
  }
  assert.ok((await collect(await rig.open())).equals(rig.bytes()))
  assert.deepEqual(rig.registry.authorizations, [undefined, ALICE, ALICE])
})

test('a host that was redirected to can not ask for credentials', async (t) => {
  const rig = await openRig(t)
  const thief = await openFaultyOrigin()
  t.after(() => thief.close())
  thief.faults = { auth: { type: 'basic', username: 'alice', password: 'secret' } }
  rig.registry.faults = { redirect: (path) => `${thief.url}${path}` }
  await assert.rejects(rig.open({ start: 0 }, ALICE), withCode('ORIGIN_UNAUTHORIZED'))
  assert.deepEqual(new Set(thief.authorizations), new Set([undefined]))
})

test('loops, endless chains and redirects to nowhere end with a clear error', async (t) => {
  const rig = await openRig(t, { faults: { redirect: (path) => path } })
  await assert.rejects(rig.open(), withCode('ORIGIN_REDIRECT', /loop/))
  assert.equal(rig.registry.requests.length, 1)
  let hop = 0
  rig.registry.faults = { redirect: () => `/v2/hop/${++hop}` }
  await assert.rejects(rig.open(), withCode('ORIGIN_REDIRECT', /more than 10/))
  assert.equal(hop, 11)
  rig.registry.faults = { status: 302 }
  await assert.rejects(rig.open(), withCode('ORIGIN_REDIRECT', /nowhere/))
  rig.registry.faults = { redirect: () => 'gopher://x' }
  await assert.rejects(rig.open(), withCode('ORIGIN_REDIRECT', /gopher/))
})

test('the signature in an address that was redirected to is in no error', async (t) => {
  const rig = await openRig(t)
  const storage = await openFaultyOrigin()
  t.after(() => storage.close())
  storage.faults = { reset: true }
  rig.registry.faults = { redirect: (path) => `${storage.url}${path}?X-Signature=hidden` }
  await assert.rejects(rig.open(), (error: Error) => !JSON.stringify({ ...error, message: error.message }).includes('hidden'))
})
