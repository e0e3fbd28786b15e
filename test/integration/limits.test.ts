import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import { createImage, createRandomBlob } from '../../examples/demo/image.ts'
import { runShoal } from '../cli/run-shoal.ts'
import { type DaemonProcess, heardOfAll, startDaemon, startMesh } from '../helpers/daemon.ts'
import { openFaultyOrigin } from '../helpers/faulty-origin.ts'
import { get, pullImage } from '../helpers/pull.ts'
import { tmp } from '../helpers/tmp.ts'
import { until } from '../helpers/until.ts'

const MB = 1_000_000

async function limitedOrigin(t: TestContext) {
  const origin = await openFaultyOrigin()
  t.after(() => origin.close())
  return origin
}

const paused = async (node: DaemonProcess) => (await node.status()).pausedOrigins.length

test('a zone obeys a registry that limits requests as one: who was told tells the others, and all go on when it is over', async (t) => {
  const origin = await limitedOrigin(t)
  const image = createImage({ seed: 'limited', layerBytes: [300_000, 200_000] })
  origin.addImage('team/app', 'v1', image)
  const held = createRandomBlob('held by one', 400_000)
  origin.addBlob('team/app', held)
  const mesh = await startMesh(t, 4, await tmp(t), { upstreams: [`reg.test=${origin.url}`] })
  await heardOfAll(mesh)
  const [first, ...others] = mesh as [DaemonProcess, ...DaemonProcess[]]
  const url = (node: DaemonProcess, path: string) => `${node.mirror}/v2/reg.test/team/app/${path}`
  assert.equal((await get(url(first, `blobs/${held.digest}`))).status, 200)

  const before = origin.requests.length
  origin.faults = { status: 429, retryAfter: '8' }
  assert.equal((await get(url(first, `blobs/${image.config.digest}`))).status, 429)
  const asked = origin.requests.length
  assert.equal(asked, before + 1)
  for (const node of others) await until('it has heard of the limit', async () => (await paused(node)) === 1)

  for (const node of mesh) {
    for (const path of ['manifests/v1', ...image.layers.map(({ digest }) => `blobs/${digest}`)]) {
      const response = await fetch(url(node, path))
      assert.equal(response.status, 429, path)
      const retryS = Number(response.headers.get('retry-after'))
      assert.ok(retryS >= 1 && retryS <= 9, `${retryS}`)
    }
    assert.equal((await get(url(node, `blobs/${held.digest}`))).status, 200, 'what a member holds is given all the same')
  }
  assert.equal(origin.requests.length, asked, 'nobody asked it again')
  const shown = await runShoal(['status', '--control', String((others[0] as DaemonProcess).control).replace('http://', '')])
  assert.match(String(shown.stdout), /^paused +reg\.test for nobody, .* more, says 12D3KooW/m)

  origin.faults = {}
  for (const node of mesh) await until('it is over', async () => (await paused(node)) === 0, 15_000)
  await Promise.all(mesh.map((node) => pullImage(node.mirror, 'reg.test', 'team/app', 'v1', image)))
})

test('a daemon keeps to its rates, and says which they are', async (t) => {
  const origin = await limitedOrigin(t)
  const blob = createRandomBlob('rates', 6 * MB)
  origin.addBlob('team/app', blob)
  const upstreams = [`reg.test=${origin.url}`]
  const dir = await tmp(t)
  const [a, b] = await startMesh(t, 2, dir, { upstreams, flags: ['--upload-rate', '3MB/s'] })
  const c = await startDaemon(t, {
    dataDir: `${dir}/c`,
    upstreams,
    bootstrap: (a as DaemonProcess).addresses,
    flags: ['--download-rate', '4MB/s'],
  })
  const pull = async (node: DaemonProcess | undefined) => {
    const started = performance.now()
    const got = await get(`${node?.mirror}/v2/reg.test/team/app/blobs/${blob.digest}`)
    assert.equal(got.digest, String(blob.digest))
    return performance.now() - started
  }
  await pull(a)
  await heardOfAll([a, b, c] as DaemonProcess[])
  // a tenth of a second's worth is free
  const fromA = await pull(b)
  assert.ok(fromA >= (6 / 3 - 0.1) * 1_000 * 0.95, `6 MB at 3 MB/s took ${fromA} ms`)
  const fromBoth = await pull(c)
  assert.ok(fromBoth >= (6 / 4 - 0.1) * 1_000 * 0.9, `6 MB at 4 MB/s took ${fromBoth} ms`)
  t.diagnostic(`6 MB at 3 MB/s took ${Math.round(fromA)} ms, and at 4 MB/s ${Math.round(fromBoth)} ms`)
  assert.deepEqual((await c.status()).limits, { downloadBytesPerSecond: 4 * MB })
  const shown = await runShoal(['status', '--control', c.control.replace('http://', '')])
  assert.match(String(shown.stdout), /^limits +up off, down 3\.8MiB\/s$/m)
})
