import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { createImage } from '../../examples/demo/image.ts'
import { heardOfAll, startMesh } from '../helpers/daemon.ts'
import { type DockerRegistry, dockerRegistryMissing, REGISTRY_LOGIN, startDockerRegistry } from '../helpers/docker-registry.ts'
import { basic } from '../helpers/faulty-origin.ts'
import { get } from '../helpers/pull.ts'
import { tmp } from '../helpers/tmp.ts'

const HOSTS = 8
const skip = dockerRegistryMissing()

/** Requests for manifests by tag or digest, those that were refused for want of credentials left out. */
function manifestRequests(registry: DockerRegistry, method: string, reference: 'v' | 'sha256:'): number {
  const all = registry.accessLog().filter(({ path }) => path.startsWith(`/v2/team/app/manifests/${reference}`))
  return all.filter((request) => request.method === method && request.status !== 401).length
}

test('eight nodes that resolve one tag cold, at the same moment, cost the registry about one HEAD and one manifest', {
  skip,
}, async (t) => {
  const dir = await tmp(t)
  const image = createImage({ seed: 'tags', layerBytes: [1000] })
  await using registry = await startDockerRegistry({ dir: join(dir, 'registry') })
  for (const tag of ['v1', 'v2', 'v3']) await registry.push('team/app', tag, image)
  const mesh = await startMesh(t, HOSTS, dir, { upstreams: [`reg.test=${registry.url}`] })
  await heardOfAll(mesh)

  for (const tag of ['v1', 'v2', 'v3']) {
    const path = `/v2/reg.test/team/app/manifests/${tag}`
    const asked = mesh.map(async ({ mirror }) => {
      const head = await fetch(mirror + path, { method: 'HEAD', headers: { accept: image.manifest.mediaType } })
      assert.equal(head.headers.get('docker-content-digest'), String(image.manifest.digest))
      assert.equal(head.headers.get('warning'), null)
      assert.equal((await get(mirror + path, { accept: image.manifest.mediaType })).digest, String(image.manifest.digest))
    })
    await Promise.all(asked)
  }
  const heads = manifestRequests(registry, 'HEAD', 'v')
  const gets = manifestRequests(registry, 'GET', 'sha256:')
  t.diagnostic(`${heads} HEADs for three tags, ${gets} GETs of their manifest`)
  // each tag once; somebody looks for itself by chance, and on a machine that is busy because nobody answers in time
  assert.ok(heads >= 3 && heads <= 9, `${heads} HEADs`)
  assert.ok(gets >= 1 && gets <= HOSTS / 2, `${gets} GETs`)
})

test('a private tag is asked about by each node in its own client’s name', { skip }, async (t) => {
  const dir = await tmp(t)
  const image = createImage({ seed: 'private tags', layerBytes: [1000] })
  await using registry = await startDockerRegistry({ dir: join(dir, 'registry'), auth: true })
  await registry.push('team/app', 'v1', image)
  const mesh = await startMesh(t, 3, dir, { upstreams: [`reg.test=${registry.url}`] })
  await heardOfAll(mesh)
  const path = '/v2/reg.test/team/app/manifests/v1'
  const authorization = basic(REGISTRY_LOGIN.username, REGISTRY_LOGIN.password)
  for (const { mirror } of mesh) {
    const got = await get(mirror + path, { accept: image.manifest.mediaType, authorization })
    assert.equal(got.digest, String(image.manifest.digest))
  }
  assert.equal(manifestRequests(registry, 'HEAD', 'v'), 3, 'the registry let each in by itself')
  for (const { mirror } of mesh) {
    assert.equal((await get(mirror + path)).status, 401, 'who shows no credentials')
    assert.equal((await get(mirror + path, { authorization: basic('kelp', 'wrong') })).status, 401, 'nor who shows wrong ones')
  }
})
