import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import { until } from '../helpers/until.ts'
import { push } from './fake-upstream.ts'
import { rig, untilClosed } from './rig.ts'

const HEAD = 'GET /v2/ HTTP/1.1\r\nHost: localhost\r\n'

const GARBAGE: Record<string, [sent: string | Buffer, status: string]> = {
  'a TLS hello': [Buffer.from('16030100c8010000c40303', 'hex'), '400 Bad Request'],
  'HTTP/0.9': ['GET /v2/\r\n\r\n', '400 Bad Request'],
  'both a length and a transfer coding': [
    `${HEAD}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled`,
    '400 Bad Request',
  ],
  'two lengths': [`${HEAD}Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello`, '400 Bad Request'],
  'a bare carriage return in a header': [`${HEAD}X: a\rb\r\n\r\n`, '400 Bad Request'],
  'no Host': ['GET /v2/ HTTP/1.1\r\n\r\n', '400 Bad Request'],
  'headers over 64 KiB': [`${HEAD}X: ${'a'.repeat(70_000)}\r\n\r\n`, '431 Request Header Fields Too Large'],
  'random bytes': [Buffer.from('00ff00ff00ff', 'hex'), '400 Bad Request'],
}

for (const [what, [sent, status]] of Object.entries(GARBAGE)) {
  test(`${what} is answered ${status} in plain HTTP and the connection closed`, async (t) => {
    const { dial, get } = await rig(t)
    const socket = await dial()
    const answer = untilClosed(socket)
    socket.write(sent)
    const text = await answer
    assert.ok(text.startsWith(`HTTP/1.1 ${status}\r\n`), text.slice(0, 100))
    assert.ok(!text.includes('smuggled'))
    assert.equal((await get('/v2/')).status, 200)
  })
}

test('headers below 64 KiB are fine', async (t) => {
  const { get } = await rig(t)
  assert.equal((await get('/v2/', { authorization: `Bearer ${'a'.repeat(50_000)}` })).status, 200)
})

test('who asks before sending a body is refused without being invited to send it', async (t) => {
  const { dial } = await rig(t, { defaultUpstream: 'docker.io' })
  const socket = await dial()
  const answer = untilClosed(socket)
  socket.write('PUT /v2/a/manifests/v1 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000\r\nExpect: 100-continue\r\n\r\n')
  const text = await answer
  assert.ok(text.startsWith('HTTP/1.1 405'), text.slice(0, 100))
})

test('requests sent ahead on one connection are answered in order', async (t) => {
  const { node, dial } = await rig(t)
  const digest = push(node.upstream.repository('reg.example/a'), 'first-body')
  const socket = await dial()
  const path = `/v2/a/blobs/${digest}?ns=reg.example`
  let text = ''
  socket.on('data', (chunk) => {
    text += String(chunk)
  })
  socket.write(
    `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n${HEAD}\r\nGET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`,
  )
  await once(socket, 'close')
  assert.deepEqual(text.match(/first-body|\{\}/g), ['first-body', '{}', 'first-body'])
})

test('requests sent ahead by a client that then leaves leave nothing open', async (t) => {
  const { node, dial, get } = await rig(t)
  const digest = push(node.upstream.repository('reg.example/a'), Buffer.alloc(500_000, 1))
  const waiting = Promise.withResolvers<void>()
  node.beforePiece = async (index, signal) => {
    if (index < 2) return
    waiting.resolve()
    await once(signal, 'abort')
  }
  const socket = await dial()
  socket.write(`GET /v2/a/blobs/${digest}?ns=reg.example HTTP/1.1\r\nHost: localhost\r\n\r\n`.repeat(20))
  await waiting.promise
  socket.destroy()
  await until('nothing is open', () => node.openBlobs === 0 && node.outstanding === 0)
  assert.equal((await get('/v2/')).status, 200)
})

test('a connection is kept for two minutes, and small answers are not delayed', async (t) => {
  const { dial } = await rig(t)
  const socket = await dial()
  socket.write(`${HEAD}\r\n`)
  const [chunk] = (await once(socket, 'data')) as [Buffer]
  assert.match(String(chunk), /^HTTP\/1\.1 200 OK\r\n/)
  assert.match(String(chunk), /\r\nKeep-Alive: timeout=120\r\n/)
  assert.match(String(chunk), /\{\}$/, 'headers and body come in one segment')
})
