import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { createImage } from '../../examples/demo/image.ts'
import { digestOf } from '../../protocols/digest.ts'
import { openOrigin } from '../../src/origin/open-origin.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { dockerRegistryMissing, REGISTRY_LOGIN, startDockerRegistry } from '../helpers/docker-registry.ts'
import { basic } from '../helpers/faulty-origin.ts'
import { tmp } from '../helpers/tmp.ts'
import { until } from '../helpers/until.ts'
import { collect, withCode } from '../origin/rig.ts'

const skip = dockerRegistryMissing() ?? false
const REPOSITORY = 'library/app'
const LOGIN = basic(REGISTRY_LOGIN.username, REGISTRY_LOGIN.password)

async function start(t: TestContext, auth: boolean) {
  const registry = await startDockerRegistry({ dir: await tmp(t), auth })
  t.after(() => registry.stop())
  const image = createImage({ seed: 'docker-registry', layerBytes: [10_000, 2_000_000], gzip: true })
  await registry.push(REPOSITORY, 'v1', image)
  const origin = await openOrigin({ upstreams: new Map([['docker.io', new URL(registry.url)]]), log: SILENT })
  t.after(() => origin[Symbol.asyncDispose]())
  const source = (kind: 'blob' | 'manifest', authorization?: string) =>
    ({ type: 'registry', registry: 'docker.io', repository: REPOSITORY, kind, authorization }) as const
  const tag = (name: string, authorization?: string) => ({
    registry: 'docker.io',
    repository: REPOSITORY,
    tag: name,
    authorization,
  })
  return { registry, image, origin, source, tag, signal: t.signal }
}

test('an image comes from docker-registry: tag, manifest, blobs, ranges, tags', { skip }, async (t) => {
  const { registry, image, origin, source, tag, signal } = await start(t, false)
  const head = await origin.resolveTag(tag('v1'), { signal })
  assert.ok(head.digest.equals(image.manifest.digest))
  assert.deepEqual([head.size, head.mediaType], [image.manifest.size, image.manifest.mediaType])
  const manifest = await collect(await origin.open(source('manifest'), head.digest, { start: 0 }, { signal }))
  assert.ok(digestOf(manifest).equals(head.digest))
  for (const blob of image.blobs.values()) {
    const body = await origin.open(source('blob'), blob.digest, { start: 0 }, { signal })
    assert.equal(body.size, blob.size)
    assert.ok(digestOf(await collect(body)).equals(blob.digest))
  }
  const layer = image.layers[1] as (typeof image)['manifest']
  const part = await origin.open(source('blob'), layer.digest, { start: 1_000_000, end: 1_500_000 }, { signal })
  assert.deepEqual([part.start, part.size], [1_000_000, layer.size])
  assert.ok((await collect(part)).equals(Buffer.concat([...layer.read(1_000_000, 1_500_000)])))
  const { body } = await origin.relay({ registry: 'docker.io', path: `/v2/${REPOSITORY}/tags/list` }, { signal })
  assert.deepEqual(JSON.parse(String(await collect({ body }))), { name: REPOSITORY, tags: ['v1'] })
  await until('the access log has it all', () => registry.accessLog().length === 7)
})

test('docker-registry saying no is told apart', { skip }, async (t) => {
  const { image, origin, source, tag, signal } = await start(t, false)
  const other = digestOf(Buffer.from('not there'))
  await assert.rejects(origin.resolveTag(tag('v2'), { signal }), withCode('ORIGIN_NOT_FOUND'))
  await assert.rejects(origin.open(source('blob'), other, { start: 0 }, { signal }), withCode('ORIGIN_NOT_FOUND', /blob unknown/))
  await assert.rejects(origin.open(source('manifest'), other, { start: 0 }, { signal }), withCode('ORIGIN_NOT_FOUND'))
  const layer = image.layers[0] as (typeof image)['manifest']
  // Its 416 announces more bytes than it sends: nobody may wait for them.
  await assert.rejects(
    origin.open(source('blob'), layer.digest, { start: layer.size + 10 }, { signal }),
    withCode('ORIGIN_PROTOCOL', /416/),
  )
})

test('docker-registry with passwords lets in who has one', { skip }, async (t) => {
  const { image, origin, source, tag, signal } = await start(t, true)
  const { digest } = image.manifest
  await assert.rejects(origin.resolveTag(tag('v1'), { signal }), withCode('ORIGIN_UNAUTHORIZED'))
  assert.equal((await origin.resolveTag(tag('v1', LOGIN), { signal })).usedAuthorization, true)
  const body = await origin.open(source('manifest', LOGIN), digest, { start: 0 }, { signal })
  assert.equal(body.usedAuthorization, true)
  assert.ok(digestOf(await collect(body)).equals(digest))
  assert.equal(await origin.permits(source('manifest'), digest, { signal }), false)
  assert.equal(await origin.permits(source('manifest', basic('kelp', 'wrong')), digest, { signal }), false)
  assert.equal(await origin.permits(source('manifest', LOGIN), digest, { signal }), true)
})
