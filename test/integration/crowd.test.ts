import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { createImage } from '../../examples/demo/image.ts'
import { heardOfAll, startMesh } from '../helpers/daemon.ts'
import { dockerRegistryMissing, startDockerRegistry } from '../helpers/docker-registry.ts'
import { pullImage } from '../helpers/pull.ts'
import { tmp } from '../helpers/tmp.ts'

const MiB = 1024 * 1024
const HOSTS = 8
/** One would be enough; on a machine where eight daemons share two cores some answers come too late to prevent a few more pieces. */
const MAX_COPIES = 2
const skip = dockerRegistryMissing()

test('a cold crowd that pulls at the same moment completes, and costs the registry about one copy', {
  skip,
}, async (t) => {
  const dir = await tmp(t)
  const image = createImage({ seed: 'crowd', layerBytes: [24 * MiB, 3 * MiB, 100_000, 100_000, 100_000] })
  await using registry = await startDockerRegistry({ dir: join(dir, 'registry') })
  await registry.push('team/app', 'v1', image)
  const mesh = await startMesh(t, HOSTS, dir, { upstreams: [`reg.test=${registry.url}`] })
  await heardOfAll(mesh)

  await Promise.all(mesh.map((node) => pullImage(node.mirror, 'reg.test', 'team/app', 'v1', image)))

  const bytes = registry
    .accessLog()
    .filter(({ method, path }) => method === 'GET' && path.includes('/blobs/'))
    .reduce((sum, request) => sum + request.bytes, 0)
  const once = [image.config, ...image.layers].reduce((sum, blob) => sum + blob.size, 0)
  assert.ok(bytes < MAX_COPIES * once, `the registry sent ${(bytes / once).toFixed(2)} copies`)
  for (const node of mesh) {
    assert.equal(await node.metric('shoal_pieces_failed_total{where="peer"}'), 0)
    assert.equal(await node.metric('shoal_downloads_total{outcome="failed"}'), 0)
  }
})
