import assert from 'node:assert/strict'
import { once } from 'node:events'
import { request } from 'node:http'
import { connect } from 'node:net'
import { test } from 'node:test'
import { digestOf } from '../../protocols/digest.ts'
import { ShoalError } from '../../src/errors.ts'
import { openTestControl } from './harness.ts'

const CONTENT = Buffer.alloc(300_000, 'shoal ')
const DIGEST = digestOf(CONTENT)

async function errorOf(response: Response): Promise<{ status: number; code: string }> {
  const { error } = (await response.json()) as { error: { code: string; message: string } }
  assert.ok(error.message.length > 0)
  return { status: response.status, code: error.code }
}

test('a blob is read whole, by HEAD, and by range', async (t) => {
  const { node, url } = await openTestControl(t)
  node.put(CONTENT, { mediaType: 'text/plain' })
  const whole = await fetch(`${url}/v1/blobs/${DIGEST}`)
  assert.equal(whole.status, 200)
  assert.equal(whole.headers.get('content-type'), 'text/plain')
  assert.deepEqual(Buffer.from(await whole.arrayBuffer()), CONTENT)
  const head = await fetch(`${url}/v1/blobs/${DIGEST}`, { method: 'HEAD' })
  assert.deepEqual([head.status, head.headers.get('content-length'), await head.text()], [200, '300000', ''])
  for (const [range, start, end] of [
    ['bytes=10-19', 10, 20],
    ['bytes=299990-', 299_990, 300_000],
    ['bytes=-5', 299_995, 300_000],
    ['bytes=100000-999999', 100_000, 300_000],
  ] as const) {
    const part = await fetch(`${url}/v1/blobs/${DIGEST}`, { headers: { range } })
    assert.equal(part.status, 206)
    assert.equal(part.headers.get('content-range'), `bytes ${start}-${end - 1}/300000`)
    assert.deepEqual(Buffer.from(await part.arrayBuffer()), CONTENT.subarray(start, end))
  }
  assert.equal(node.outstanding, 0)
  assert.match(await (await fetch(`${url}/metrics`)).text(), /^shoal_served_bytes_total\{to="client"\} 500025$/m)
})

test('a range outside the blob is 416 with its size', async (t) => {
  const { node, url } = await openTestControl(t)
  node.put(CONTENT)
  const response = await fetch(`${url}/v1/blobs/${DIGEST}`, { headers: { range: 'bytes=300000-' } })
  assert.equal(response.headers.get('content-range'), 'bytes */300000')
  assert.deepEqual(await errorOf(response), { status: 416, code: 'RANGE_INVALID' })
})

test('the empty blob is an answer like any other', async (t) => {
  const { node, url } = await openTestControl(t)
  const digest = node.put(new Uint8Array(0))
  const response = await fetch(`${url}/v1/blobs/${digest}`)
  assert.deepEqual([response.status, response.headers.get('content-length'), await response.text()], [200, '0', ''])
})

test('bans are imposed, shown and lifted, with a code and a status for each mistake', async (t) => {
  const { url } = await openTestControl(t)
  const peer = '12D3KooWA4Xop1JaT3MHxwYMkCepYsv4iPVopMXwCz5iHYdBfeSB'
  const at = `${url}/v1/bans/${peer}`
  assert.deepEqual(await errorOf(await fetch(at)), { status: 404, code: 'PEER_NOT_BANNED' })
  assert.deepEqual(await errorOf(await fetch(at, { method: 'DELETE' })), { status: 404, code: 'PEER_NOT_BANNED' })
  const put = await fetch(`${at}?forMs=60000&reason=${encodeURIComponent('too loud')}`, { method: 'PUT' })
  const ban = (await put.json()) as { reason: string; until: string }
  assert.deepEqual([put.status, ban.reason, ban.until], [200, 'too loud', new Date(60_000).toISOString()])
  assert.deepEqual(await (await fetch(`${url}/v1/bans`)).json(), { bans: [ban] })
  assert.deepEqual(await (await fetch(at)).json(), ban)
  assert.equal((await fetch(at, { method: 'DELETE' })).status, 204)
  assert.deepEqual(await (await fetch(`${url}/v1/bans`)).json(), { bans: [] })
  for (const [path, method, status, code] of [
    ['/v1/bans/nobody', 'PUT', 400, 'PEER_ID_INVALID'],
    ['/v1/bans/', 'GET', 400, 'PEER_ID_INVALID'],
    [`/v1/bans/${'1'.repeat(5_000)}`, 'DELETE', 400, 'PEER_ID_INVALID'],
    [`/v1/bans/${peer}?forMs=soon`, 'PUT', 400, 'REQUEST_INVALID'],
    [`/v1/bans/${peer}`, 'POST', 405, 'REQUEST_INVALID'],
    ['/v1/bans', 'DELETE', 405, 'REQUEST_INVALID'],
  ] as const) {
    assert.deepEqual(await errorOf(await fetch(url + path, { method })), { status, code }, path)
  }
})

test('a body that can not be completed is cut, never ended short', async (t) => {
  const { node, url } = await openTestControl(t)
  node.put(CONTENT)
  node.cutAfter = 128 * 1024
  const response = await fetch(`${url}/v1/blobs/${DIGEST}`)
  assert.equal(response.status, 200)
  await assert.rejects(response.arrayBuffer())
  assert.equal(node.outstanding, 0)
})

test('a client that does not read holds back the node, and gives everything free when it goes', async (t) => {
  const { node, control } = await openTestControl(t)
  const big = Buffer.alloc(64 << 20, 1)
  const digest = node.put(big)
  const [host, port] = control.address.split(':') as [string, string]
  const socket = connect(Number(port), host)
  await once(socket, 'connect')
  socket.pause()
  socket.write(`GET /v1/blobs/${digest} HTTP/1.1\r\nhost: ${control.address}\r\n\r\n`)
  await once(socket, 'readable')
  assert.ok(node.most <= 2, `${node.most} chunks at once`)
  socket.destroy()
  for (const deadline = Date.now() + 5_000; node.outstanding > 0 && Date.now() < deadline; )
    await new Promise((r) => setImmediate(r))
  assert.equal(node.outstanding, 0)
})

test('what is missing, malformed or not possible is said with a code and a status', async (t) => {
  const { url } = await openTestControl(t)
  const get = async (path: string, init: RequestInit = {}) => errorOf(await fetch(`${url}${path}`, init))
  assert.deepEqual(await get(`/v1/blobs/${DIGEST}`), { status: 404, code: 'BLOB_UNKNOWN' })
  assert.deepEqual(await get(`/v1/blobs/${DIGEST}`, { method: 'DELETE' }), { status: 404, code: 'BLOB_UNKNOWN' })
  assert.deepEqual(await get('/v1/blobs/sha256:abc'), { status: 400, code: 'DIGEST_INVALID' })
  assert.deepEqual(await get('/v1/blobs/%zz'), { status: 400, code: 'DIGEST_INVALID' })
  assert.deepEqual(await get(`/v1/blobs/${DIGEST}?origin=UPPER/case`), { status: 400, code: 'REFERENCE_INVALID' })
  assert.deepEqual(await get(`/v1/blobs/${DIGEST}?origin=a.example/b:tag`), { status: 400, code: 'REFERENCE_INVALID' })
  assert.deepEqual(await get(`/v1/blobs/${DIGEST}?origin=a.example/b&kind=tree`), { status: 400, code: 'REQUEST_INVALID' })
  assert.deepEqual(await get(`/v1/blobs/${DIGEST}?origin=a.example/b`), { status: 404, code: 'ORIGIN_NOT_FOUND' })
  assert.deepEqual(await get('/v1/images/resolve'), { status: 400, code: 'REQUEST_INVALID' })
  assert.deepEqual(await get('/v1/images/resolve?reference=a.example/b:none'), { status: 404, code: 'ORIGIN_NOT_FOUND' })
  assert.deepEqual(await get('/v2/'), { status: 404, code: 'REQUEST_INVALID' })
  assert.deepEqual(await get('/v1/status', { method: 'POST' }), { status: 405, code: 'REQUEST_INVALID' })
})

test('what is not held comes from the origin that the caller names', async (t) => {
  const { node, url } = await openTestControl(t)
  node.origin.set(String(DIGEST), { bytes: CONTENT, meta: {} })
  const one = await fetch(`${url}/v1/blobs/${DIGEST}?origin=http://127.0.0.1:9/file`)
  assert.equal((await one.arrayBuffer()).byteLength, CONTENT.length)
  await (await fetch(`${url}/v1/blobs/${DIGEST}?origin=a.example/b&kind=manifest`)).arrayBuffer()
  assert.deepEqual(node.asked, [
    { type: 'url', url: new URL('http://127.0.0.1:9/file') },
    { type: 'registry', registry: 'a.example', repository: 'b', kind: 'manifest' },
  ])
})

test('bringing a blob into the node ends with one line that says so, or why not', async (t) => {
  const { node, url } = await openTestControl(t)
  node.origin.set(String(DIGEST), { bytes: CONTENT, meta: {} })
  const response = await fetch(`${url}/v1/blobs/${DIGEST}?origin=a.example/b`, { method: 'POST' })
  assert.equal(response.headers.get('content-type'), 'application/x-ndjson')
  const lines = (await response.text()).trim().split('\n')
  assert.deepEqual(JSON.parse(lines.at(-1) as string), { digest: String(DIGEST), size: 300_000, heldBytes: 300_000, done: true })
  node.cutAfter = 0
  const failed = await (await fetch(`${url}/v1/blobs/${DIGEST}`, { method: 'POST' })).text()
  assert.equal(JSON.parse(failed).error.code, 'DIGEST_MISMATCH')
  const absent = await fetch(`${url}/v1/blobs/${digestOf(Buffer.from('absent'))}`, { method: 'POST' })
  assert.deepEqual(await errorOf(absent), { status: 404, code: 'BLOB_UNKNOWN' })
})

test('content is added, listed and removed', async (t) => {
  const { node, url } = await openTestControl(t)
  const listed = async () => (await (await fetch(`${url}/v1/blobs`)).json()) as { blobs: { digest: string; size: number }[] }
  assert.deepEqual(await listed(), { blobs: [] })
  const added = await fetch(`${url}/v1/blobs?mediaType=text/plain`, { method: 'POST', body: CONTENT })
  assert.equal(added.status, 201)
  assert.deepEqual(await added.json(), { digest: String(DIGEST), size: CONTENT.length })
  node.put(Buffer.from('other'))
  assert.deepEqual(
    (await listed()).blobs.map((b) => b.size),
    [300_000, 5],
  )
  assert.equal(node.blobs.get(String(DIGEST))?.meta.mediaType, 'text/plain')
  assert.equal((await fetch(`${url}/v1/blobs/${DIGEST}`, { method: 'DELETE' })).status, 204)
  assert.equal((await listed()).blobs.length, 1)
  assert.deepEqual(await errorOf(await fetch(`${url}/v1/blobs?mediaType=a%0d%0ab`, { method: 'POST', body: 'x' })), {
    status: 400,
    code: 'REQUEST_INVALID',
  })
})

test('an upload that is refused in the middle hears why', async (t) => {
  const { node, url } = await openTestControl(t)
  node.refuseAdd = new ShoalError('STORE_FULL', 'no room')
  const req = request(`${url}/v1/blobs`, { method: 'POST' })
  req.on('error', () => {})
  req.write(Buffer.alloc(1 << 20))
  const [response] = (await once(req, 'response')) as [import('node:http').IncomingMessage]
  assert.equal(response.statusCode, 507)
  const [body] = (await once(response, 'data')) as [Buffer]
  assert.equal(JSON.parse(String(body)).error.code, 'STORE_FULL')
  req.destroy()
})

test('status says what was bound, and the node answers probes', async (t) => {
  const { control, url } = await openTestControl(t, { mirror: '127.0.0.1:7400' })
  const status = (await (await fetch(`${url}/v1/status`)).json()) as Record<string, unknown>
  assert.deepEqual(
    [status.peerId, status.zone, status.version, status.mirror, status.control],
    ['12D3KooWself', 'a/b', '0.0.0', '127.0.0.1:7400', control.address],
  )
  const { peers } = (await (await fetch(`${url}/v1/peers`)).json()) as { peers: { peerId: string }[] }
  assert.equal(peers[0]?.peerId, '12D3KooWfake')
  for (const path of ['/healthz', '/readyz']) assert.equal((await fetch(`${url}${path}`)).status, 200)
})

test('a tag is resolved to what it means now, and latest is meant where none is given', async (t) => {
  const { node, url } = await openTestControl(t)
  node.origin.set(String(DIGEST), { bytes: CONTENT, meta: { mediaType: 'application/vnd.oci.image.index.v1+json' } })
  node.tags.set('docker.io/library/app:latest', DIGEST)
  assert.deepEqual(await (await fetch(`${url}/v1/images/resolve?reference=app`)).json(), {
    registry: 'docker.io',
    repository: 'library/app',
    reference: 'docker.io/library/app:latest',
    digest: String(DIGEST),
    mediaType: 'application/vnd.oci.image.index.v1+json',
    size: 300_000,
  })
})

test('with a token, only who shows it is let in; probes need none', async (t) => {
  const { url } = await openTestControl(t, { token: 'a-long-secret' })
  const refused = await fetch(`${url}/v1/status`)
  assert.equal(refused.headers.get('www-authenticate'), 'Bearer realm="shoal"')
  assert.deepEqual(await errorOf(refused), { status: 401, code: 'CONTROL_UNAUTHORIZED' })
  for (const authorization of ['Bearer wrong', 'Bearer ', 'Basic a-long-secret', 'a-long-secret', 'Bearer a-long-secretx']) {
    assert.equal((await fetch(`${url}/metrics`, { headers: { authorization } })).status, 401, authorization)
  }
  assert.equal((await fetch(`${url}/v1/status`, { headers: { authorization: 'bearer a-long-secret' } })).status, 200)
  assert.equal((await fetch(`${url}/healthz`)).status, 200)
})

test('a web page can not use the listener of the host it is looked at from', async (t) => {
  const { control } = await openTestControl(t)
  const ask = async (headers: Record<string, string>) => {
    const req = request(`http://${control.address}/v1/status`, { headers })
    req.end()
    const [response] = (await once(req, 'response')) as [import('node:http').IncomingMessage]
    response.resume()
    return response.statusCode
  }
  assert.equal(await ask({ host: 'evil.example' }), 403)
  assert.equal(await ask({ host: '127.0.0.1.evil.example:80' }), 403)
  assert.equal(await ask({ origin: 'http://evil.example' }), 403)
  assert.equal(await ask({ 'sec-fetch-site': 'cross-site' }), 403)
  assert.equal(await ask({ host: 'localhost:1', 'sec-fetch-site': 'none' }), 200)
  assert.equal(await ask({ origin: `http://${control.address}` }), 200)
})

test('what came with credentials is shown only to the operator, or where all is shared', async (t) => {
  const restricted = { restrictedTo: ['a.example/private'] }
  const open = await openTestControl(t)
  open.node.put(CONTENT, restricted)
  for (const method of ['GET', 'HEAD', 'POST']) {
    assert.equal((await fetch(`${open.url}/v1/blobs/${DIGEST}`, { method })).status, 403, method)
  }
  const shared = await openTestControl(t, { shared: true })
  shared.node.put(CONTENT, restricted)
  assert.equal((await fetch(`${shared.url}/v1/blobs/${DIGEST}`)).status, 200)
  const operated = await openTestControl(t, { token: 'secret' })
  operated.node.put(CONTENT, restricted)
  assert.equal((await fetch(`${operated.url}/v1/blobs/${DIGEST}`, { headers: { authorization: 'Bearer secret' } })).status, 200)
})

test('closing cuts what is running and frees the port', async (t) => {
  const { node, control, url } = await openTestControl(t)
  node.put(Buffer.alloc(64 << 20))
  const response = await fetch(`${url}/v1/blobs/${digestOf(Buffer.alloc(64 << 20))}`)
  await control.close()
  await assert.rejects(response.arrayBuffer())
  await assert.rejects(fetch(`${url}/healthz`))
})
