import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { setTimeout } from 'node:timers/promises'
import { createRandomBlob } from '../../examples/demo/image.ts'
import { settled } from '../helpers/until.ts'
import { collect, openRig, REPOSITORY, withCode } from './rig.ts'

test('a blob comes whole, with its size', async (t) => {
  const rig = await openRig(t)
  const body = await rig.open()
  assert.deepEqual([body.size, body.start, body.usedAuthorization], [rig.layer.size, 0, false])
  assert.ok((await collect(body)).equals(rig.bytes()))
  assert.equal(rig.registry.requests[0]?.range, undefined)
})

test('a range of a blob comes from where it was asked, to its end or the given one', async (t) => {
  const rig = await openRig(t)
  const tail = await rig.open({ start: 1000 })
  assert.deepEqual([tail.size, tail.start], [rig.layer.size, 1000])
  assert.ok((await collect(tail)).equals(rig.bytes(1000)))
  const part = await rig.open({ start: 1000, end: 5000 })
  assert.ok((await collect(part)).equals(rig.bytes(1000, 5000)))
  assert.deepEqual(
    rig.registry.requests.map(({ range }) => range),
    ['bytes=1000-', 'bytes=1000-4999'],
  )
})

test('an origin without ranges says so by what it answers, and gives the whole blob from its start', async (t) => {
  const rig = await openRig(t, { faults: { ranges: false } })
  const body = await rig.open({ start: 1000, end: 5000 })
  assert.deepEqual([body.size, body.start, body.ranged], [rig.layer.size, 0, false])
  assert.ok((await collect(body)).equals(rig.bytes()))
})

test('without a length the blob still comes, and its size is unknown', async (t) => {
  const rig = await openRig(t, { faults: { noContentLength: true } })
  const body = await rig.open()
  assert.equal(body.size, undefined)
  assert.ok((await collect(body)).equals(rig.bytes()))
})

test('connections are used again', async (t) => {
  const rig = await openRig(t)
  for (let i = 0; i < 5; i++) await collect(await rig.open({ start: i, end: 2000 }))
  assert.equal(rig.registry.ports.length, 5)
  const connections = new Set(rig.registry.ports).size
  assert.ok(connections <= 2, `${connections} connections for requests one after the other`)
})

test('a manifest is asked for with all types that there are, and never in part', async (t) => {
  const rig = await openRig(t)
  const { manifest } = rig.image
  const body = await rig.origin.open(
    rig.source(undefined, 'manifest'),
    manifest.digest,
    { start: 100, end: 200 },
    { signal: t.signal },
  )
  assert.deepEqual([body.start, body.size, body.mediaType], [0, manifest.size, 'application/vnd.oci.image.manifest.v1+json'])
  assert.equal((await collect(body)).length, manifest.size)
  assert.equal(rig.registry.requests[0]?.range, undefined)
})

test('a manifest over 4 MiB is refused, announced or not', async (t) => {
  const rig = await openRig(t)
  const large = createRandomBlob('large', 5 * 1024 * 1024)
  rig.registry.addImage(REPOSITORY, 'large', { ...rig.image, manifest: large })
  const open = () => rig.origin.open(rig.source(undefined, 'manifest'), large.digest, { start: 0 }, { signal: t.signal })
  await assert.rejects(open(), withCode('ORIGIN_PROTOCOL', /4194304/))
  rig.registry.faults = { noContentLength: true }
  await assert.rejects(collect(await open()), withCode('ORIGIN_PROTOCOL', /4194304/))
})

test('a connection cut in the middle is an error after the bytes that came', async (t) => {
  const rig = await openRig(t, { faults: { cutAfterBytes: 100_000 } })
  const { body } = await rig.open()
  let got = 0
  await assert.rejects(async () => {
    for await (const chunk of body) got += chunk.length
  }, withCode('ORIGIN_UNREACHABLE'))
  assert.ok(got <= 100_000)
  rig.registry.faults = { cutAfterBytes: 100_000, noContentLength: true }
  await assert.rejects(collect(await rig.open()), withCode('ORIGIN_UNREACHABLE'))
})

test('a body shorter than announced is cut, and one that contradicts its range is refused', async (t) => {
  const rig = await openRig(t, { faults: { contentLengthOff: 10 } })
  await assert.rejects(collect(await rig.open()), withCode('ORIGIN_UNREACHABLE'))
  rig.registry.faults = { noContentLength: true, contentRange: `bytes 1000-4999/${rig.layer.size}` }
  await assert.rejects(rig.open({ start: 1000 }), withCode('ORIGIN_PROTOCOL', /content-range/))
  rig.registry.faults = { noContentLength: true, contentRange: 'bytes 1000-4999/5000' }
  await assert.rejects(collect(await rig.open({ start: 1000 })), withCode('ORIGIN_PROTOCOL', /more than the 4000/))
  rig.registry.faults = { contentRange: 'bytes 0-4999/300000' }
  await assert.rejects(rig.open({ start: 1000, end: 5000 }), withCode('ORIGIN_PROTOCOL', /content-range/))
})

test('an origin that compresses though it was asked not to is refused', async (t) => {
  const rig = await openRig(t, { faults: { headers: { 'Content-Encoding': 'gzip' } } })
  await assert.rejects(rig.open(), withCode('ORIGIN_PROTOCOL', /gzip/))
})

test('an origin that says nothing, or stops in the middle, is given up after its deadline', async (t) => {
  const timeouts = { headerTimeoutMs: 1_000, progressTimeoutMs: 300 }
  const rig = await openRig(t, { faults: { hang: 'before headers' }, timeouts })
  await assert.rejects(rig.open(), withCode('ORIGIN_TIMEOUT'))
  rig.registry.faults = { hang: { afterBytes: 1000 } }
  const { body } = await rig.open()
  let got = 0
  await assert.rejects(async () => {
    for await (const chunk of body) got += chunk.length
  }, withCode('ORIGIN_TIMEOUT'))
  assert.equal(got, 1000)
})

test('a reader that is slower than the deadline is not held against the origin', async (t) => {
  const rig = await openRig(t, { timeouts: { progressTimeoutMs: 500 } })
  const large = createRandomBlob('slow reader', 3_000_000)
  rig.registry.addBlob(REPOSITORY, large)
  const { body } = await rig.origin.open(rig.source(), large.digest, { start: 0 }, { signal: t.signal })
  let got = 0
  for await (const chunk of body) {
    // No event tells that a deadline did not end anything: this outlives it.
    if (got === 0) await setTimeout(1_500)
    got += chunk.length
  }
  assert.equal(got, large.size)
})

test('a reader that stops holds the origin back', async (t) => {
  const rig = await openRig(t)
  const large = createRandomBlob('back-pressure', 64 * 1024 * 1024)
  rig.registry.addBlob(REPOSITORY, large)
  const { body, cancel } = await rig.origin.open(rig.source(), large.digest, { start: 0 }, { signal: t.signal })
  const reader = body[Symbol.asyncIterator]()
  await reader.next()
  const taken = await settled(() => rig.registry.requests[0]?.bytes ?? 0)
  assert.ok(taken < 24 * 1024 * 1024, `${taken} bytes were taken though nobody read`)
  cancel()
  await assert.rejects(async () => {
    while (!(await reader.next()).done);
  }, withCode('ORIGIN_UNREACHABLE'))
})

test('cancelling, and leaving the loop, close the connection', async (t) => {
  const rig = await openRig(t, { faults: { hang: { afterBytes: 70_000 } } })
  let gone = rig.registry.nextCut()
  const first = await rig.open()
  first.cancel()
  await gone
  gone = rig.registry.nextCut()
  for await (const _ of (await rig.open()).body) break
  await gone
})

test('the signal ends the request before its headers and in its body, with its reason', async (t) => {
  const rig = await openRig(t, { faults: { hang: 'before headers' } })
  const controller = new AbortController()
  const opening = rig.origin.open(rig.source(), rig.layer.digest, { start: 0 }, { signal: controller.signal })
  controller.abort(new Error('no longer wanted'))
  await assert.rejects(opening, /no longer wanted/)
  rig.registry.faults = { hang: { afterBytes: 70_000 } }
  const second = new AbortController()
  const { body } = await rig.origin.open(rig.source(), rig.layer.digest, { start: 0 }, { signal: second.signal })
  await assert.rejects(async () => {
    for await (const _ of body) second.abort(new Error('no longer wanted'))
  }, /no longer wanted/)
})

test('a refused connection is an unreachable origin', async (t) => {
  const rig = await openRig(t)
  await rig.registry.close()
  await assert.rejects(rig.open(), withCode('ORIGIN_UNREACHABLE', /ECONNREFUSED/))
})

test('a connection that the server closed meanwhile is tried once more, and only once', async (t) => {
  const rig = await openRig(t, { faults: { reset: true, every: 2 } })
  assert.ok((await collect(await rig.open())).equals(rig.bytes()))
  assert.equal(rig.registry.requests.length, 2)
  rig.registry.faults = { reset: true }
  await assert.rejects(rig.open(), withCode('ORIGIN_UNREACHABLE'))
  assert.equal(rig.registry.requests.length, 4)
})

test('what does not speak HTTP is a protocol error', async (t) => {
  const server = createServer((socket) => socket.on('error', () => {}).end('SSH-2.0-OpenSSH_9.2\r\n')).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => server.close())
  const { port } = server.address() as { port: number }
  const rig = await openRig(t)
  const source = { type: 'url', url: new URL(`http://127.0.0.1:${port}/x`) } as const
  await assert.rejects(rig.origin.open(source, rig.layer.digest, { start: 0 }, { signal: t.signal }), withCode('ORIGIN_PROTOCOL'))
})

test('each refusal of the origin has its own code, and its words are passed on', async (t) => {
  const rig = await openRig(t)
  const codes = {
    400: 'FAILED',
    403: 'FORBIDDEN',
    404: 'NOT_FOUND',
    410: 'NOT_FOUND',
    416: 'PROTOCOL',
    204: 'PROTOCOL',
    500: 'FAILED',
    503: 'FAILED',
  }
  for (const [status, code] of Object.entries(codes)) {
    rig.registry.faults = { status: Number(status) }
    await assert.rejects(rig.open(), withCode(`ORIGIN_${code}`, new RegExp(`status ${status}`)))
  }
  rig.registry.faults = { status: 500 }
  await assert.rejects(rig.open(), /a fault with status 500/)
})

test('closing the origin ends what is under way', async (t) => {
  const rig = await openRig(t, { faults: { hang: { afterBytes: 1000 } } })
  const reading = collect(await rig.open())
  const outcome = assert.rejects(reading, withCode('NODE_CLOSED'))
  await rig.origin[Symbol.asyncDispose]()
  await outcome
  await assert.rejects(rig.open(), withCode('NODE_CLOSED'))
})
