import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type RequestListener } from 'node:http'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../protocols/digest.ts'
import { basic } from '../helpers/faulty-origin.ts'
import { collect, openRig, withCode } from './rig.ts'

const CONTENT = Buffer.from('all kinds of fish in one shoal\n'.repeat(1_000))
const DIGEST = digestOf(CONTENT)

async function serve(t: TestContext, listener: RequestListener): Promise<URL> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  t.after(() => void server.close().closeAllConnections())
  await once(server, 'listening')
  return new URL(`http://127.0.0.1:${(server.address() as { port: number }).port}/some/file.bin?version=1`)
}

test('any file on any server is an origin', async (t) => {
  const { origin, signal } = await openRig(t)
  const asked: string[] = []
  const url = await serve(t, (request, response) => {
    asked.push(`${request.method} ${request.url} ${request.headers.range ?? ''}`)
    response.setHeader('content-type', 'text/html').end(CONTENT)
  })
  const body = await origin.open({ type: 'url', url }, DIGEST, { start: 10, end: 20 }, { signal })
  assert.deepEqual([body.start, body.ranged, body.size, body.mediaType], [0, false, CONTENT.length, 'text/html'])
  assert.ok((await collect(body)).equals(CONTENT))
  assert.deepEqual(asked, ['GET /some/file.bin?version=1 bytes=10-19'])
  assert.equal(await origin.permits({ type: 'url', url }, DIGEST, { signal }), true)
})

test('ranges are used where the server does them', async (t) => {
  const { registry, origin, layer, bytes, signal } = await openRig(t)
  const url = new URL(`${registry.url}/v2/library/app/blobs/${layer.digest}#here`)
  const body = await origin.open({ type: 'url', url }, layer.digest, { start: 1000 }, { signal })
  assert.deepEqual([body.start, body.size], [1000, layer.size])
  assert.ok((await collect(body)).equals(bytes(1000)))
})

test('a server that closes to mark the end of a file is understood', async (t) => {
  const { origin, signal } = await openRig(t)
  const url = await serve(t, (_, response) => {
    response.socket?.end(Buffer.concat([Buffer.from('HTTP/1.0 200 OK\r\n\r\n'), CONTENT]))
  })
  const body = await origin.open({ type: 'url', url }, DIGEST, { start: 0 }, { signal })
  assert.equal(body.size, undefined)
  assert.ok((await collect(body)).equals(CONTENT))
})

test('a name and password in the URL are sent to its host, and count as credentials', async (t) => {
  const { origin, signal } = await openRig(t)
  const seen: (string | undefined)[] = []
  const url = await serve(t, (request, response) => {
    seen.push(request.headers.authorization)
    response.end(CONTENT)
  })
  url.username = 'alice'
  url.password = 's:crét'
  const body = await origin.open({ type: 'url', url }, DIGEST, { start: 0 }, { signal })
  assert.equal(body.usedAuthorization, true)
  await collect(body)
  assert.deepEqual(seen, [basic('alice', 's:crét')])
})

test('a server that does not do HEAD, or does not have it, is understood', async (t) => {
  const { origin, signal } = await openRig(t)
  const getOnly = await serve(t, (request, response) => response.writeHead(request.method === 'GET' ? 200 : 405).end(CONTENT))
  assert.equal(await origin.permits({ type: 'url', url: getOnly }, DIGEST, { signal }), true)
  const gone = await serve(t, (_, response) => response.writeHead(410).end())
  assert.equal(await origin.permits({ type: 'url', url: gone }, DIGEST, { signal }), false)
  await assert.rejects(origin.open({ type: 'url', url: gone }, DIGEST, { start: 0 }, { signal }), withCode('ORIGIN_NOT_FOUND'))
})
