import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { get as httpGet, type IncomingMessage } from 'node:http'
import { test } from 'node:test'
import { setTimeout as passes } from 'node:timers/promises'
import { ShoalError } from '../../src/errors.ts'
import { NO_METRICS } from '../../src/telemetry/metrics.ts'
import { settled, until } from '../helpers/until.ts'
import { push } from './fake-upstream.ts'
import { errorCode, type Rig, rig } from './rig.ts'

const PIECE = 64 * 1024

/** A mirror whose node holds a blob. */
async function holding(t: Parameters<typeof rig>[0], size: number, options: Parameters<typeof rig>[1] = {}) {
  const made = await rig(t, options)
  const bytes = randomBytes(size)
  const digest = push(made.node.upstream.repository('reg.example/team/app'), bytes)
  made.node.held.set(String(digest), { bytes, meta: {} })
  return {
    ...made,
    bytes,
    digest,
    path: `/v2/team/app/blobs/${digest}?ns=reg.example`,
    plain: `/v2/reg.example/team/app/blobs/${digest}`,
  }
}

/** A response whose body is not being read yet. */
async function unread({ port }: Rig, path: string, headers: Record<string, string> = {}): Promise<IncomingMessage> {
  const request = httpGet({ host: '127.0.0.1', port, path, headers, agent: false })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  request.on('error', () => {})
  response.on('error', () => {})
  return response
}

test('a body goes out byte for byte, each buffer given back once the operating system has it, and is counted', async (t) => {
  let served = 0
  const metrics = { ...NO_METRICS, served: (_to: string, bytes: number) => (served += bytes) }
  const { node, get, path, bytes } = await holding(t, 5_000_001, { metrics: metrics as unknown as typeof NO_METRICS })
  const got = await get(path)
  assert.ok(got.body.equals(bytes))
  assert.equal(served, bytes.length)
  assert.equal(node.outstanding, 0)
  assert.equal(node.openBlobs, 0)
})

test('a client that reads slowly holds back the reading of pieces', async (t) => {
  const made = await holding(t, 64 * 1024 * 1024)
  const response = await unread(made, made.path)
  const read = await settled(() => made.node.piecesRead)
  assert.ok(read < 512, `${read} of 1024 pieces read for a client that took nothing`)
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  assert.ok(Buffer.concat(chunks).equals(made.bytes))
  assert.ok(made.node.maxOutstanding <= 3, `${made.node.maxOutstanding} pieces at once`)
})

test('a client that goes away ends the reading and is no error', async (t) => {
  const lines: string[] = []
  const write = (...args: unknown[]) => lines.push(JSON.stringify(args))
  const log = {
    trace() {},
    debug() {},
    info: write,
    warn: write,
    error: write,
  } as unknown as import('../../src/telemetry/log.ts').Log
  const made = await holding(t, 64 * 1024 * 1024, { log })
  const response = await unread(made, made.path, { range: 'bytes=0-' })
  await once(response, 'readable')
  response.destroy()
  await until('nothing is open', () => made.node.openBlobs === 0 && made.node.outstanding === 0)
  assert.ok(made.node.piecesRead < 1024)
  assert.deepEqual(lines, [])
  assert.equal((await made.get(made.path, { range: 'bytes=100-199' })).status, 206)
})

test('a client that goes away while a piece is waited for ends the waiting', async (t) => {
  const made = await holding(t, 10 * PIECE)
  made.node.beforePiece = async (index, signal) => {
    if (index === 2) await once(signal, 'abort')
  }
  const response = await unread(made, made.path)
  await once(response, 'readable')
  response.destroy()
  await until('nothing is open', () => made.node.openBlobs === 0 && made.node.outstanding === 0)
})

test('bytes reach the client while later pieces are still to come', async (t) => {
  const made = await holding(t, 4 * PIECE)
  const mayGoOn = Promise.withResolvers<void>()
  made.node.beforePiece = async (index) => {
    if (index === 1) await mayGoOn.promise
  }
  const response = await unread(made, made.path)
  const chunks: Buffer[] = []
  for await (const chunk of response) {
    chunks.push(chunk as Buffer)
    if (Buffer.concat(chunks).length === PIECE) mayGoOn.resolve()
  }
  assert.ok(Buffer.concat(chunks).equals(made.bytes))
})

test('a failure before the first byte is told with a status', async (t) => {
  const { node, get, path } = await holding(t, 4 * PIECE)
  node.beforePiece = async () => {
    throw new ShoalError('ORIGIN_UNREACHABLE', 'gone')
  }
  const got = await get(path)
  assert.equal(got.status, 404)
  assert.equal(errorCode(got), 'BLOB_UNKNOWN')
  assert.equal(got.headers['content-range'], undefined)
  assert.equal(got.headers.etag, undefined)
  assert.equal(node.openBlobs, 0)
})

test('headers do not wait for ever for the first byte', async (t) => {
  const made = await holding(t, 4 * PIECE)
  const mayGoOn = Promise.withResolvers<void>()
  made.node.beforePiece = () => mayGoOn.promise
  const response = await unread(made, made.path)
  assert.equal(response.statusCode, 200)
  mayGoOn.resolve()
  let length = 0
  for await (const chunk of response) length += (chunk as Buffer).length
  assert.equal(length, 4 * PIECE)
})

test('a failure in the middle cuts the connection: what was verified arrives, and no body is ever ended short', async (t) => {
  for (const failing of [1, 2, 3]) {
    for (const code of ['DIGEST_MISMATCH', 'ORIGIN_UNREACHABLE', 'STORE_CORRUPT', 'NODE_CLOSED'] as const) {
      const { node, get, plain, bytes } = await holding(t, 4 * PIECE)
      node.beforePiece = async (index) => {
        if (index === failing) throw new ShoalError(code, 'failed')
      }
      const got = await get(plain)
      assert.equal(got.status, 200)
      assert.equal(got.complete, false)
      assert.ok(got.body.equals(bytes.subarray(0, failing * PIECE)), `${got.body.length} bytes`)
      assert.equal(node.openBlobs, 0)
      assert.equal(node.outstanding, 0)
    }
  }
})

test('a node that gives fewer or more bytes than it promised completes no body', async (t) => {
  for (const wrong of [-1, 1]) {
    const { node, get, path, bytes } = await holding(t, 3 * PIECE)
    const open = node.open.bind(node)
    node.open = async (...args) => {
      const blob = await open(...args)
      const original = blob.read
      const read = () => original({ start: 0, end: bytes.length, signal: args[1].signal })
      return Object.defineProperties(blob, { size: { value: bytes.length + wrong }, read: { value: read } })
    }
    const got = await get(path)
    assert.equal(got.status, 200)
    assert.equal(got.complete, false)
    assert.ok(got.body.length < bytes.length + wrong)
    assert.equal(node.outstanding, 0)
  }
})

test('after a cut, containerd’s next request for the blob is 404 for a moment, so that it goes on at the registry', async (t) => {
  let clock = 0
  const { node, get, path } = await holding(t, 8 * PIECE, { now: () => clock })
  node.beforePiece = async (index) => {
    if (index === 4) throw new ShoalError('ORIGIN_UNREACHABLE', 'gone')
  }
  const cut = await get(path)
  assert.equal(cut.complete, false)
  node.beforePiece = async () => {}
  assert.equal((await get(path, { range: `bytes=${cut.body.length}-` })).status, 404)
  assert.equal((await get(path, { range: 'bytes=10-' })).status, 404)
  assert.equal((await get(path)).status, 404)
  clock = 6_000
  assert.equal((await get(path, { range: `bytes=${cut.body.length}-` })).status, 206)
  assert.equal((await get(path)).status, 200)
})

test('clients that have nowhere to go on are served again at once after a cut', async (t) => {
  const { node, get, plain } = await holding(t, 8 * PIECE)
  node.beforePiece = async (index) => {
    if (index === 4) throw new ShoalError('ORIGIN_UNREACHABLE', 'gone')
  }
  const cut = await get(plain)
  node.beforePiece = async () => {}
  const rest = await get(plain, { range: `bytes=${cut.body.length}-` })
  assert.equal(rest.status, 206)
  assert.equal(rest.complete, true)
})

test('once a part of a blob was answered, later parts get their headers at once, whatever became of the blob', async (t) => {
  const made = await holding(t, 8 * PIECE)
  const { node, get, path } = made
  assert.equal((await get(path, { range: 'bytes=0-99' })).status, 206)
  node.open = async () => {
    throw new ShoalError('ORIGIN_UNREACHABLE', 'gone')
  }
  const later = await get(path, { range: `bytes=${4 * PIECE}-` })
  assert.equal(later.status, 206)
  assert.equal(later.headers['content-range'], `bytes ${4 * PIECE}-${8 * PIECE - 1}/${8 * PIECE}`)
  assert.equal(later.complete, false)
  assert.equal(later.body.length, 0)
  assert.equal((await get(path, { range: `bytes=${4 * PIECE}-` })).status, 404, 'it comes back, and goes on at the registry')
  assert.equal((await get(path, { range: `bytes=${6 * PIECE}-` })).status, 206, 'another part’s first request is not refused')
  const opening = Promise.withResolvers<never>()
  node.open = async () => await opening.promise
  const waiting = await unread(made, path, { range: `bytes=${7 * PIECE}-` })
  assert.equal(waiting.statusCode, 206)
  const cut = new Promise((resolve) => waiting.once('close', resolve))
  opening.reject(new ShoalError('ORIGIN_UNREACHABLE', 'gone'))
  await cut
  assert.equal(waiting.complete, false)
  assert.equal((await get(path, { range: `bytes=${8 * PIECE}-` })).status, 416)
})

test('a client that takes nothing is cut off, one that waits for us is not', async (t) => {
  const stalled = await holding(t, 64 * 1024 * 1024, { stalledMs: 100 })
  const response = await unread(stalled, stalled.path)
  response.pause()
  await until('nothing is open', () => stalled.node.openBlobs === 0 && stalled.node.outstanding === 0)
  assert.ok(stalled.node.piecesRead < 1024)

  const slow = await holding(t, 4 * PIECE, { stalledMs: 40 })
  slow.node.beforePiece = async () => await passes(150)
  const got = await slow.get(slow.path)
  assert.equal(got.complete, true)
  assert.ok(got.body.equals(slow.bytes))
})

test('a hundred clients at once get the same blob for one request upstream', async (t) => {
  const { node, get } = await rig(t)
  const bytes = randomBytes(100_000)
  const digest = push(node.upstream.repository('reg.example/team/app'), bytes)
  const all = await Promise.all(Array.from({ length: 100 }, () => get(`/v2/team/app/blobs/${digest}?ns=reg.example`)))
  assert.ok(all.every((got) => got.status === 200 && got.body.equals(bytes)))
  assert.equal(node.upstream.count('open'), 1)
  assert.equal(node.openBlobs, 0)
})

test('closing lets a body end, answers nothing new, and closes idle connections', async (t) => {
  const made = await holding(t, 4 * PIECE)
  const idle = await made.dial()
  const mayGoOn = Promise.withResolvers<void>()
  made.node.beforePiece = async (index) => {
    if (index === 2) await mayGoOn.promise
  }
  const response = await unread(made, made.path)
  await once(response, 'readable')
  const closed = made.mirror.close(10_000)
  idle.resume()
  await once(idle, 'close')
  const refused = await made.dial().then(
    () => false,
    () => true,
  )
  assert.ok(refused)
  mayGoOn.resolve()
  let length = 0
  for await (const chunk of response) length += (chunk as Buffer).length
  assert.equal(length, 4 * PIECE)
  await closed
})

test('closing cuts what does not end in time', async (t) => {
  const made = await holding(t, 4 * PIECE)
  made.node.beforePiece = async (index, signal) => {
    if (index === 2) await once(signal, 'abort')
  }
  const response = await unread(made, made.path)
  await once(response, 'readable')
  await made.mirror.close(50)
  assert.equal(made.node.openBlobs, 0)
  assert.equal(made.node.outstanding, 0)
})
