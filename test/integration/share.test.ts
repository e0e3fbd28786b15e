import assert from 'node:assert/strict'
import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { createImage, type ImageBlob } from '../../examples/demo/image.ts'
import { connected, startDaemon, startMesh } from '../helpers/daemon.ts'
import { dockerRegistryMissing, startDockerRegistry } from '../helpers/docker-registry.ts'
import { get, pullImage } from '../helpers/pull.ts'
import { tmp } from '../helpers/tmp.ts'
import { until } from '../helpers/until.ts'

const MiB = 1024 * 1024
const skip = dockerRegistryMissing()

test('one node pulls from the registry, others from it, and one with the registry gone', { skip }, async (t) => {
  const dir = await tmp(t)
  const image = createImage({ seed: 'share', layerBytes: [12 * MiB, 3 * MiB, 5000] })
  await using registry = await startDockerRegistry({ dir: join(dir, 'registry') })
  await registry.push('team/app', 'v1', image)
  const [a, b, c, d] = (await startMesh(t, 4, dir, { upstreams: [`reg.test=${registry.url}`] })) as [D, D, D, D]

  await pullImage(a.mirror, 'reg.test', 'team/app', 'v1', image)
  const blobRequests = () =>
    registry.accessLog().filter(({ method, path }) => method === 'GET' && path.includes('/blobs/')).length
  const first = blobRequests()
  const contentBytes = [image.manifest, ...image.blobs.values()].reduce((sum, { size }) => sum + size, 0)
  assert.equal(await a.metric('shoal_download_bytes_total{source="origin"}'), contentBytes, 'each byte once')

  await Promise.all([b, c].map((node) => pullImage(node.mirror, 'reg.test', 'team/app', 'v1', image)))
  assert.equal(blobRequests(), first, 'b and c asked the registry for no blob')
  for (const node of [b, c]) assert.equal(await node.metric('shoal_download_bytes_total{source="origin"}'), 0)

  await registry.stop()
  await pullImage(d.mirror, 'reg.test', 'team/app', 'v1', image)
  assert.equal(await d.metric('shoal_download_bytes_total{source="origin"}'), 0)
})

test('a node killed in the middle of a pull goes on where it was, and fetches nothing twice', { skip }, async (t) => {
  const dir = await tmp(t)
  const image = createImage({ seed: 'kill', layerBytes: [96 * MiB] })
  const layer = image.layers[0] as ImageBlob
  await using registry = await startDockerRegistry({ dir: join(dir, 'registry') })
  await registry.push('team/app', 'v1', image)
  const [a, b] = (await startMesh(t, 2, dir, { upstreams: [`reg.test=${registry.url}`] })) as [D, D]
  await pullImage(a.mirror, 'reg.test', 'team/app', 'v1', image)
  await registry.stop()

  const url = `/v2/reg.test/team/app/blobs/${layer.digest}`
  const cut = readSome(b.mirror + url, 24 * MiB)
  await cut
  await b.kill()

  const again = await startDaemon(t, { dataDir: join(dir, '1'), bootstrap: a.addresses })
  await connected([a, again])
  const held = await heldBytes(again.control, String(layer.digest))
  assert.ok(held > 0, 'something was recorded before the kill')
  assert.equal((await get(again.mirror + url)).digest, String(layer.digest))
  const fetched = await again.metric('shoal_download_bytes_total{source="peer"}')
  assert.ok(fetched <= layer.size - held, `fetched ${fetched} of ${layer.size} with ${held} held`)
})

test('a node whose disk has flipped bytes heals itself from a peer, and neither clients nor peers get them', {
  skip,
}, async (t) => {
  const dir = await tmp(t)
  const image = createImage({ seed: 'flip', layerBytes: [9 * MiB] })
  const layer = image.layers[0] as ImageBlob
  await using registry = await startDockerRegistry({ dir: join(dir, 'registry') })
  await registry.push('team/app', 'v1', image)
  const [a, b] = (await startMesh(t, 2, dir, { upstreams: [`reg.test=${registry.url}`] })) as [D, D]
  for (const node of [a, b]) await pullImage(node.mirror, 'reg.test', 'team/app', 'v1', image)
  await registry.stop()

  await flipBytes(join(dir, '0', 'store'), layer.size)
  const url = `/v2/reg.test/team/app/blobs/${layer.digest}`
  assert.equal((await get(a.mirror + url)).digest, String(layer.digest), 'the client notices nothing')
  assert.ok((await a.metric('shoal_pieces_failed_total{where="disk"}')) > 0)
  assert.ok((await a.metric('shoal_download_bytes_total{source="peer"}')) > 0, 'healed from its peer')

  await flipBytes(join(dir, '1', 'store'), layer.size)
  const c = await startDaemon(t, { dataDir: join(dir, '2'), bootstrap: a.addresses })
  await connected([c, a, b])
  assert.equal((await get(c.mirror + url)).digest, String(layer.digest), 'downstream gets only right bytes')
})

test('a node stops within five seconds of SIGTERM with transfers running', { skip }, async (t) => {
  const dir = await tmp(t)
  const image = createImage({ seed: 'term', layerBytes: [64 * MiB] })
  await using registry = await startDockerRegistry({ dir: join(dir, 'registry') })
  await registry.push('team/app', 'v1', image)
  const [a] = (await startMesh(t, 1, dir, { upstreams: [`reg.test=${registry.url}`] })) as [D]
  const reading = readSome(`${a.mirror}/v2/reg.test/team/app/blobs/${(image.layers[0] as ImageBlob).digest}`, 64 * MiB).catch(
    () => 'cut',
  )
  await until('the transfer has begun', async () => (await a.metric('shoal_download_bytes_total{source="origin"}')) > 0)
  assert.equal(await a.stop(), 0)
  await reading
})

type D = Awaited<ReturnType<typeof startDaemon>>

/** Reads so many bytes of a body, and goes away. */
async function readSome(url: string, bytes: number): Promise<void> {
  const abort = new AbortController()
  const response = await fetch(url, { signal: abort.signal })
  let read = 0
  for await (const chunk of response.body ?? []) {
    read += chunk.length
    if (read >= bytes) break
  }
  abort.abort()
}

async function heldBytes(control: string, digest: string): Promise<number> {
  const { blobs } = (await (await fetch(`${control}/v1/blobs`)).json()) as { blobs: { digest: string; heldBytes: number }[] }
  return blobs.find((blob) => blob.digest === digest)?.heldBytes ?? 0
}

/** Overwrites a few bytes in the middle of the file of that size. */
async function flipBytes(store: string, size: number): Promise<void> {
  for (const entry of await readdir(store, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    const file = await open(join(entry.parentPath, entry.name), 'r+')
    try {
      if ((await file.stat()).size === size) {
        await file.write(Buffer.from('flipped by a bad disk'), 0, 21, Math.floor(size / 2))
        return
      }
    } finally {
      await file.close()
    }
  }
  throw new Error(`no file of ${size} bytes in ${store}`)
}
