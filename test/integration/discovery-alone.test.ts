import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../protocols/digest.ts'
import { type DaemonProcess, startDaemon } from '../helpers/daemon.ts'
import { get } from '../helpers/pull.ts'
import { tmp } from '../helpers/tmp.ts'
import { until } from '../helpers/until.ts'

const ALONE = { 'the DHT': ['--gossip', 'off'], gossip: ['--dht', 'off'] }

for (const [name, flags] of Object.entries(ALONE)) {
  test(`with ${name} alone, a node finds what another holds though both know only a third`, async (t) => {
    const dir = await tmp(t)
    const x = await startDaemon(t, { dataDir: join(dir, 'x'), flags })
    const [a, b] = await Promise.all(['a', 'b'].map((id) => startAt(t, join(dir, id), x, flags)))
    const { bytes, digest } = await add(a as DaemonProcess)
    await found(b as DaemonProcess, digest, bytes.length)
    assert.equal(await (b as DaemonProcess).metric('shoal_download_bytes_total{source="peer"}'), bytes.length)
  })

  test(`with ${name} alone, a restarted node tells what it holds to a mesh that has never heard of it`, async (t) => {
    const dir = await tmp(t)
    const alone = await startDaemon(t, { dataDir: join(dir, 'a'), flags })
    const { bytes, digest } = await add(alone)
    assert.equal(await alone.stop(), 0)
    const x = await startDaemon(t, { dataDir: join(dir, 'x'), flags })
    const again = await startAt(t, join(dir, 'a'), x, flags)
    assert.equal(again.peerId, alone.peerId)
    const b = await startAt(t, join(dir, 'b'), x, flags)
    await found(b, digest, bytes.length)
    assert.equal(await again.metric('shoal_served_bytes_total{to="peer"}'), bytes.length)
  })
}

test('with the DHT alone, a blob is found across zones', async (t) => {
  const dir = await tmp(t)
  const x = await startDaemon(t, { dataDir: join(dir, 'x'), flags: ['--gossip', 'off'] })
  const zone = (name: string) => ['--gossip', 'off', '--zone', `test/${name}`]
  const [a, b] = await Promise.all(['a', 'b'].map((id) => startAt(t, join(dir, id), x, zone(id))))
  const { bytes, digest } = await add(a as DaemonProcess)
  await found(b as DaemonProcess, digest, bytes.length)
})

function startAt(t: TestContext, dataDir: string, bootstrap: DaemonProcess, flags: readonly string[]): Promise<DaemonProcess> {
  return startDaemon(t, { dataDir, bootstrap: bootstrap.addresses, flags })
}

async function add({ control }: DaemonProcess): Promise<{ bytes: Buffer; digest: string }> {
  const bytes = randomBytes(1_500_000)
  const response = await fetch(`${control}/v1/blobs`, { method: 'POST', body: bytes })
  assert.ok(response.ok, await response.text())
  return { bytes, digest: String(digestOf(bytes)) }
}

/** Asks until news of it have come around: nobody tells when they have. */
async function found({ control }: DaemonProcess, digest: string, size: number): Promise<void> {
  await until(
    `${digest} is found`,
    async () => {
      const got = await get(`${control}/v1/blobs/${digest}`)
      if (got.status !== 200) return false
      assert.deepEqual([got.digest, got.bytes], [digest, size])
      return true
    },
    20_000,
  )
}
