import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../protocols/digest.ts'
import { type DaemonProcess, startDaemon } from '../helpers/daemon.ts'
import { tmp } from '../helpers/tmp.ts'
import { until } from '../helpers/until.ts'

/** Below every deadline that could end it otherwise. */
const AT_ONCE_MS = 4_000
const digest = digestOf(Buffer.from('held by nobody'))

test('a mirror that is its own upstream says at once that it has nothing', async (t) => {
  const [port] = await freePorts(1)
  await refusesAll(await mirrorOf(t, await tmp(t), port as number, port as number))
})

test('two mirrors that are each other upstream notice it', async (t) => {
  const dir = await tmp(t)
  const [one, other] = (await freePorts(2)) as [number, number]
  const [a, b] = await Promise.all([mirrorOf(t, join(dir, 'a'), one, other), mirrorOf(t, join(dir, 'b'), other, one)])
  await refusesAll(a)
  await until('the log says so', () => a.log.some((line) => line.includes('leads back to this mirror')))
  await refusesAll(b)
})

/** A daemon on `port` that takes its own kind on `upstream` for a registry. */
async function mirrorOf(t: TestContext, dataDir: string, port: number, upstream: number): Promise<DaemonProcess> {
  return startDaemon(t, {
    dataDir,
    upstreams: [`reg.test=http://127.0.0.1:${upstream}`],
    flags: ['--default-upstream', 'reg.test', '--mirror', `127.0.0.1:${port}`],
  })
}

async function refusesAll({ mirror }: DaemonProcess): Promise<void> {
  const asks = [
    ['/v2/', 200],
    ['/v2/team/app/manifests/v1', 404],
    [`/v2/team/app/manifests/${digest}`, 404],
    [`/v2/team/app/blobs/${digest}`, 404],
    ['/v2/team/app/tags/list', 404],
  ] as const
  for (const [path, status] of asks) {
    const started = performance.now()
    const answer = await fetch(`${mirror}${path}`)
    await answer.arrayBuffer()
    assert.equal(answer.status, status, path)
    assert.ok(performance.now() - started < AT_ONCE_MS, path)
  }
}

/** Ports that were free a moment ago: each of two has to know the other's before either listens. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, '127.0.0.1'))
  await Promise.all(servers.map((server) => once(server, 'listening')))
  const ports = servers.map((server) => (server.address() as { port: number }).port)
  await Promise.all(servers.map((server) => once(server.close(), 'close')))
  return ports
}
