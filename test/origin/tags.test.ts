import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createBlob } from '../../examples/demo/image.ts'
import { digestOf } from '../../protocols/digest.ts'
import { ShoalError } from '../../protocols/error.ts'
import { basic, openFaultyOrigin } from '../helpers/faulty-origin.ts'
import { collect, openRig, REPOSITORY, type Rig, withCode } from './rig.ts'

const ALICE = basic('alice', 'secret')

const resolve = (rig: Rig, tag = 'v1', authorization?: string) =>
  rig.origin.resolveTag({ registry: 'docker.io', repository: REPOSITORY, tag, authorization }, { signal: rig.signal })
const methods = (rig: Rig) => rig.registry.requests.map(({ method }) => method).join()

test('a tag is resolved by HEAD alone', async (t) => {
  const rig = await openRig(t)
  const { manifest } = rig.image
  const head = await resolve(rig)
  assert.ok(head.digest.equals(manifest.digest))
  assert.deepEqual([head.size, head.mediaType, head.usedAuthorization], [manifest.size, manifest.mediaType, false])
  assert.equal(methods(rig), 'HEAD')
})

test('where HEAD says too little, or is not done, the manifest is fetched and hashed', async (t) => {
  const rig = await openRig(t)
  const head = (request: { method: string }) => request.method === 'HEAD'
  const reasons = [
    { headers: { 'Docker-Content-Digest': undefined } },
    { headers: { 'Docker-Content-Digest': 'sha256:short' } },
    { applies: head, headers: { 'Content-Type': undefined } },
    { applies: head, headers: { 'Content-Length': undefined, 'Transfer-Encoding': 'chunked' } },
    { applies: head, status: 405 },
    { applies: head, status: 501 },
  ]
  for (const faults of reasons) {
    rig.registry.faults = faults
    const found = await resolve(rig)
    assert.ok(found.digest.equals(rig.image.manifest.digest))
    assert.equal(found.size, rig.image.manifest.size)
  }
  assert.equal(methods(rig), reasons.map(() => 'HEAD,GET').join())
})

test('the media type comes from the manifest where the header is missing', async (t) => {
  const rig = await openRig(t, { faults: { headers: { 'Content-Type': undefined } } })
  assert.equal((await resolve(rig)).mediaType, rig.image.manifest.mediaType)
})

test('a manifest that is not what its header calls it is refused', async (t) => {
  const rig = await openRig(t)
  const other = String(digestOf(Buffer.from('other')))
  rig.registry.faults = { headers: { 'Docker-Content-Digest': other, 'Content-Type': undefined } }
  await assert.rejects(resolve(rig), withCode('ORIGIN_PROTOCOL', new RegExp(other)))
})

test('a manifest said to be over 4 MiB is refused without fetching it', async (t) => {
  const rig = await openRig(t, { faults: { headers: { 'Content-Length': '5000000' } } })
  await assert.rejects(resolve(rig), withCode('ORIGIN_PROTOCOL', /5000000/))
  assert.equal(methods(rig), 'HEAD')
})

test('a tag that is not there, or may not be seen, says so', async (t) => {
  const rig = await openRig(t)
  await assert.rejects(resolve(rig, 'v9'), withCode('ORIGIN_NOT_FOUND'))
  for (const tag of ['', '../x', 'a b', 'x'.repeat(129)]) await assert.rejects(resolve(rig, tag), withCode('REFERENCE_INVALID'))
  rig.registry.faults = { auth: { type: 'basic', username: 'alice', password: 'secret' } }
  await assert.rejects(resolve(rig), (error) => error instanceof ShoalError && error.detail?.challenge === 'Basic realm="test"')
  assert.equal((await resolve(rig, 'v1', ALICE)).usedAuthorization, true)
})

test('a repository with an impossible name is never asked for', async (t) => {
  const rig = await openRig(t)
  for (const repository of ['', 'UPPER', 'a/../b', 'a//b', 'a?b']) {
    const source = { type: 'registry', registry: 'docker.io', repository, kind: 'blob' } as const
    await assert.rejects(
      rig.origin.open(source, rig.layer.digest, { start: 0 }, { signal: t.signal }),
      withCode('REFERENCE_INVALID'),
      repository,
    )
  }
  assert.equal(rig.registry.requests.length, 0)
})

const permits = (rig: Rig, authorization?: string, kind: 'blob' | 'manifest' = 'blob') =>
  rig.origin.permits(rig.source(authorization, kind), kind === 'blob' ? rig.layer.digest : rig.image.manifest.digest, {
    signal: rig.signal,
  })

test('whether somebody may see a blob or manifest is asked by HEAD', async (t) => {
  const rig = await openRig(t)
  assert.equal(await permits(rig), true)
  assert.equal(await permits(rig, undefined, 'manifest'), true)
  rig.registry.faults = { auth: { type: 'basic', username: 'alice', password: 'secret' } }
  assert.equal(await permits(rig), false)
  assert.equal(await permits(rig, basic('alice', 'wrong')), false)
  assert.equal(await permits(rig, ALICE), true)
  rig.registry.faults = { status: 404 }
  assert.equal(await permits(rig, ALICE), false)
  assert.ok(!methods(rig).includes('GET'))
})

test('an origin that fails permits nothing and says why', async (t) => {
  const rig = await openRig(t, { faults: { status: 503 } })
  await assert.rejects(permits(rig), withCode('ORIGIN_FAILED'))
  rig.registry.faults = { status: 429 }
  await assert.rejects(permits(rig), withCode('ORIGIN_RATE_LIMITED'))
})

test('a storage host that does GET only still shows that the registry permits', async (t) => {
  const rig = await openRig(t)
  const storage = await openFaultyOrigin()
  t.after(() => storage.close())
  storage.addImage(REPOSITORY, 'v1', rig.image)
  storage.faults = { applies: ({ method }) => method === 'HEAD', status: 403 }
  rig.registry.faults = { redirect: (path) => `${storage.url}${path}` }
  assert.equal(await permits(rig), true)
  assert.equal(storage.requests.at(-1)?.range, 'bytes=0-0')
  storage.faults = { status: 403 }
  assert.equal(await permits(rig), false)
})

test('a log-in page, or another blob, is no permission', async (t) => {
  const rig = await openRig(t, { faults: { headers: { 'Content-Type': 'text/html; charset=utf-8' } } })
  assert.equal(await permits(rig), false)
  rig.registry.faults = { headers: { 'Docker-Content-Digest': String(digestOf(Buffer.from('other'))) } }
  assert.equal(await permits(rig), false)
})

const relay = (rig: Rig, path: string, authorization?: string) =>
  rig.origin.relay({ registry: 'docker.io', path, authorization, accept: 'application/json' }, { signal: rig.signal })

test('a list of tags is relayed with the headers that matter', async (t) => {
  const rig = await openRig(t, { faults: { headers: { Link: '</v2/x>; rel="next"', 'Set-Cookie': 'a=b' } } })
  const { status, headers, body } = await relay(rig, `/v2/${REPOSITORY}/tags/list?n=5`)
  assert.equal(status, 200)
  assert.deepEqual(JSON.parse(String(await collect({ body }))), { name: REPOSITORY, tags: ['v1'] })
  assert.equal(headers.link, '</v2/x>; rel="next"')
  assert.equal(headers['set-cookie'], undefined)
  assert.equal(rig.registry.requests[0]?.path, `/v2/${REPOSITORY}/tags/list?n=5`)
})

test('a missing list is relayed as missing, a refused one is an error with the challenge', async (t) => {
  const rig = await openRig(t)
  const { status, body } = await relay(rig, '/v2/library/other/tags/list')
  assert.equal(status, 404)
  assert.match(String(await collect({ body })), /NAME_UNKNOWN/)
  rig.registry.faults = { auth: { type: 'basic', username: 'alice', password: 'secret' } }
  await assert.rejects(relay(rig, `/v2/${REPOSITORY}/tags/list`), withCode('ORIGIN_UNAUTHORIZED'))
  assert.equal((await relay(rig, `/v2/${REPOSITORY}/tags/list`, ALICE)).status, 200)
  rig.registry.faults = { status: 502 }
  await assert.rejects(relay(rig, `/v2/${REPOSITORY}/tags/list`), withCode('ORIGIN_FAILED'))
})

test('a list that never ends is cut at its limit', async (t) => {
  const rig = await openRig(t)
  rig.registry.addImage(REPOSITORY, 'v1', { ...rig.image, manifest: createBlob(new Uint8Array(33 * 1024 * 1024)) })
  rig.registry.faults = { noContentLength: true }
  const { body } = await relay(rig, `/v2/${REPOSITORY}/manifests/v1`)
  await assert.rejects(collect({ body }), withCode('ORIGIN_PROTOCOL', /more than/))
})
