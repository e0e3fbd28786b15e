import assert from 'node:assert/strict'
import { describe, it, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { RateLimit } from '../../src/rate-limit.ts'
import { VirtualClock } from '../discovery/virtual-clock.ts'
import { openTokenServer } from '../helpers/faulty-origin.ts'
import { settled, until } from '../helpers/until.ts'
import { collect, hostLimits, openRig } from './rig.ts'

const NEVER = { signal: new AbortController().signal }

describe('the places at an origin', () => {
  const free = async (limits: ReturnType<typeof hostLimits>, host: string): Promise<number> => {
    let entered = 0
    for (let i = 0; i < 40; i++) void limits.enter(host, 'bulk', NEVER).then(() => entered++)
    await turn()
    return entered
  }

  it('are as many as its name is given, as all others are given, or eight', async () => {
    const requests = new Map([
      ['docker.io', 3],
      ['reg.test', 4],
      ['cdn.example:8443', 5],
    ])
    const upstreams = new Map([['reg.test', new URL('http://127.0.0.1:5000/prefix')]])
    const some = hostLimits({ requests, upstreams })
    assert.equal(await free(some, 'registry-1.docker.io'), 3)
    assert.equal(await free(some, '127.0.0.1:5000'), 4)
    assert.equal(await free(some, 'cdn.example:8443'), 5)
    assert.equal(await free(some, 'ghcr.io'), 8)
    assert.equal(await free(hostLimits({ requests: new Map([...requests, ['*', 2]]) }), 'ghcr.io'), 2)
    assert.equal(some.maxRequests, 8)
  })

  it('of what is small are others than those of blobs', async () => {
    const limits = hostLimits({ requests: new Map([['*', 1]]) })
    await limits.enter('h', 'bulk', NEVER)
    const leave = await limits.enter('h', 'small', NEVER)
    leave()
    await limits.enter('h', 'small', NEVER)
    await limits.enter('other', 'bulk', NEVER)
  })
})

test('an origin is asked for so many blobs at a time, and for the next as soon as one is read, dropped or refused', async (t) => {
  const rig = await openRig(t, { requests: new Map([['docker.io', 2]]) })
  const first = await rig.open()
  const second = await rig.open()
  const [third, fourth] = [rig.open(), rig.open()]
  await settled(() => rig.registry.requests.length, 50)
  assert.equal(rig.registry.requests.length, 2)
  // what is small does not wait for blobs
  await rig.origin.resolveTag({ registry: 'docker.io', repository: 'library/app', tag: 'v1' }, rig)
  await collect(first)
  const body = await third
  second.cancel()
  await (await fourth).body[Symbol.asyncIterator]().return?.()
  ;(await fourth).cancel()
  rig.registry.faults = { status: 404 }
  for (let i = 0; i < 5; i++) await assert.rejects(rig.open())
  rig.registry.faults = {}
  assert.ok((await collect(body)).equals(rig.bytes()))
  await collect(await rig.open())
})

test('who waits for its place can stop waiting', async (t) => {
  const rig = await openRig(t, { requests: new Map([['docker.io', 1]]) })
  const first = await rig.open()
  const abort = new AbortController()
  const reason = new Error('enough')
  const waiting = rig.origin.open(rig.source(), rig.layer.digest, { start: 0 }, { signal: abort.signal })
  abort.abort(reason)
  await assert.rejects(waiting, reason)
  const next = rig.open()
  await collect(first)
  await collect(await next)
})

test('one place is enough for a registry whose token server is on the same host', async (t) => {
  await using server = await openTokenServer()
  const auth = { type: 'bearer', server, lets: () => true } as const
  const rig = await openRig(t, { faults: { auth }, requests: new Map([['*', 1]]) })
  for (let i = 0; i < 3; i++) await collect(await rig.open())
  assert.equal(server.requests.length, 1)
})

test('a blob is read no faster than the node may receive, and the origin is held back meanwhile', async (t) => {
  const clock = new VirtualClock()
  const download = new RateLimit({ bytesPerSecond: 1_000_000, burstBytes: 100_000, clock })
  // the time without progress is for an origin that does not send, not for a reader that may not read
  const rig = await openRig(t, { download, timeouts: { progressTimeoutMs: 50 } })
  const large = rig.image.layers[1] as typeof rig.layer
  const body = await rig.origin.open(rig.source(), large.digest, { start: 0 }, rig)
  let read = 0
  const done = (async () => {
    for await (const chunk of body.body) read += chunk.length
  })()
  const start = await settled(() => read, 200)
  assert.ok(start <= 100_000 + 70_000, `${start} bytes at once`)
  for (let second = 1; second <= 3; second++) {
    await clock.advance(1_000)
    const now = await settled(() => read, 50)
    assert.ok(Math.abs(now - second * 1_000_000) <= 250_000, `${now} bytes after ${second} s`)
  }
  await until('all of it is read', async () => {
    await clock.advance(500)
    return read === large.size
  })
  await done
})

test('an origin’s own rate holds its blobs back and nobody else’s', async (t) => {
  const rig = await openRig(t, { rate: new Map([['docker.io', 600_000]]) })
  const started = performance.now()
  await collect(await rig.open())
  const limited = performance.now() - started
  assert.ok(limited >= 300, `300,000 bytes of which a tenth of a second's worth is free took ${limited} ms`)
  const source = {
    type: 'url',
    url: new URL(`${rig.registry.url.replace('127.0.0.1', 'localhost')}/v2/library/app/blobs/${rig.layer.digest}`),
  } as const
  const again = performance.now()
  await collect(await rig.origin.open(source, rig.layer.digest, { start: 0 }, rig))
  assert.ok(performance.now() - again < limited)
})

test('what is small is read at once, and paid for by the blobs after it', async (t) => {
  const clock = new VirtualClock()
  const download = new RateLimit({ bytesPerSecond: 100_000, burstBytes: 100, clock })
  const rig = await openRig(t, { download })
  const manifest = rig.source(undefined, 'manifest')
  for (let i = 0; i < 3; i++) await collect(await rig.origin.open(manifest, rig.image.manifest.digest, { start: 0 }, rig))
  assert.equal(download.ready(1), false)
  const owed = 3 * rig.image.manifest.size
  await clock.advance((owed / 100_000) * 1_000 + 1)
  assert.equal(download.ready(1), true)
})
