import assert from 'node:assert/strict'
import { once } from 'node:events'
import { access, readFile, stat } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { test } from 'node:test'
import { createImage } from '../../examples/demo/image.ts'
import { openRegistry, type RegistryExchange, sendAnswer } from '../../examples/demo/registry.ts'
import type { NodeStatus } from '../../src/node.ts'
import { runShoal } from './run-shoal.ts'
import { startDaemon } from './start-daemon.ts'

test('a daemon says what it bound, keeps its identity, and ends cleanly when told to', async (t) => {
  const first = await startDaemon(t, ['--zone', 'eu/dc1/r1'])
  const { status } = first
  assert.match(String(status.mirror), /^127\.0\.0\.1:\d+$/)
  assert.equal(status.zone, 'eu/dc1/r1')
  const asked = (await (await fetch(`http://${status.control}/v1/status`)).json()) as NodeStatus
  assert.deepEqual([asked.peerId, asked.mirror, asked.control], [status.peerId, status.mirror, status.control])
  assert.match(await (await fetch(`http://${status.control}/metrics`)).text(), /^shoal_download_bytes_total\{source="peer"\} 0$/m)
  assert.equal((await stat(join(first.dataDir, 'identity.key'))).mode & 0o777, 0o600)
  const ended = await first.stop()
  assert.equal(ended.code, 0)
  const again = await startDaemon(t, [], first.dataDir)
  assert.equal(again.status.peerId, status.peerId)
  assert.equal((await again.stop('SIGINT')).code, 0)
})

test('a Ctrl-C that comes twice at once, from the terminal and from npm, still ends it cleanly', async (t) => {
  const { child, stop } = await startDaemon(t)
  const stopped = stop('SIGINT')
  child.kill('SIGTERM')
  assert.equal((await stopped).code, 0)
})

test('a second daemon on the same data directory, and a port that is taken, are refused with a line and a code', async (t) => {
  const { dataDir, status } = await startDaemon(t)
  const flags = ['--mirror', 'off', '--listen', '/ip4/127.0.0.1/tcp/0']
  const second = await runShoal(['daemon', '--data-dir', dataDir, '--control', '127.0.0.1:0', ...flags])
  assert.equal(second.code, 8, second.stderr)
  assert.match(second.stderr, /\[STORE_LOCKED\]/)
  const taken = await runShoal(['daemon', '--data-dir', join(dataDir, 'other'), '--control', String(status.control), ...flags])
  assert.equal(taken.code, 2, taken.stderr)
  assert.match(taken.stderr, /EADDRINUSE.*\[ADDRESS_INVALID\]/)
})

test('it stops within 5 s with transfers running, and what was cut is not taken for the whole', async (t) => {
  const image = createImage({ seed: 'stop', layerBytes: [24 << 20] })
  /** Sends a third of each layer, and then nothing. */
  const send = async (exchange: RegistryExchange): Promise<void> => {
    const { answer, response } = exchange
    if (Number(answer.headers['Content-Length'] ?? 0) < 1 << 20) return sendAnswer(exchange)
    const { body } = answer
    answer.body = (async function* () {
      let bytes = 0
      for await (const part of body) {
        if (bytes > 8 << 20) await once(response, 'close')
        bytes += part.length
        yield part
      }
    })()
    await sendAnswer(exchange)
  }
  await using registry = await openRegistry({ send })
  registry.addImage('app', 'v1', image)
  const daemon = await startDaemon(t, ['--upstream', `registry.test=${registry.url}`])
  const [layer] = image.layers
  const req = request(`http://${daemon.status.mirror}/v2/registry.test/app/blobs/${layer?.digest}`).end()
  const [response] = (await once(req, 'response')) as [import('node:http').IncomingMessage]
  await once(
    response.once('error', () => {}),
    'data',
  )
  response.resume()
  const cut = new Promise((resolve) => response.once('close', resolve))
  const { ms } = await daemon.stop()
  assert.ok(ms < 5_000, `${ms} ms`)
  await cut
  assert.equal(response.complete, false)
})

test('an image comes from a registry into one node, and from that node into another whose registry is gone', async (t) => {
  const image = createImage({ seed: 'cli', layerBytes: [3 << 20, 1 << 20, 1000] })
  const registry = await openRegistry()
  t.after(() => registry.close())
  registry.addImage('team/app', 'v1', image)
  const upstream = ['--upstream', `registry.test=${registry.url}`]
  const one = await startDaemon(t, upstream)
  const got = await runShoal([
    'get',
    'registry.test/team/app:v1',
    '--json',
    '--platform',
    'linux/amd64',
    '--control',
    String(one.status.control),
  ])
  assert.equal(got.code, 0, got.stderr)
  assert.equal(JSON.parse(String(got.stdout)).digest, String(image.manifest.digest))
  const two = await startDaemon(t, [...upstream, '--bootstrap', one.status.addresses[0] as string])
  await registry.close()
  const dir = join(two.dataDir, 'layout')
  const again = await runShoal(['get', 'registry.test/team/app:v1', '-o', dir, '--control', String(two.status.control)])
  assert.equal(again.code, 0, again.stderr)
  for (const blob of [image.manifest, ...image.blobs.values()]) await access(join(dir, 'blobs', 'sha256', blob.digest.hex))
  assert.equal(JSON.parse(await readFile(join(dir, 'index.json'), 'utf8')).manifests[0].digest, String(image.manifest.digest))
  const metrics = await (await fetch(`http://${two.status.control}/metrics`)).text()
  assert.match(metrics, /^shoal_download_bytes_total\{source="origin"\} 0$/m)
})
