import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { digestOf } from '../../protocols/digest.ts'
import { type ErrorCode, ShoalError } from '../../src/errors.ts'
import { Cuts } from '../../src/mirror/cuts.ts'
import { within } from '../../src/mirror/deadline.ts'
import { ExpiringMap } from '../../src/mirror/expiring-map.ts'
import { bareType, manifestMediaType } from '../../src/mirror/media-type.ts'
import { refusalOf } from '../../src/mirror/oci-errors.ts'
import { isLoopback, isPrivateName } from '../../src/mirror/private-name.ts'
import { rangeStart, wantedRange } from '../../src/mirror/range.ts'
import { parseRoute } from '../../src/mirror/route.ts'

const DIGEST = digestOf(Buffer.from('x'))

test('any request line is a route or a refusal, and a route’s names are well formed', () => {
  const part = fc.oneof(
    fc.constantFrom('v2', 'manifests', 'blobs', 'tags', 'list', '..', '%2e', 'a', 'docker.io', 'x:1', String(DIGEST)),
    fc.string(),
  )
  const url = fc
    .tuple(fc.array(part, { maxLength: 8 }), fc.option(fc.string()))
    .map(([parts, ns]) => `/v2/${parts.join('/')}${ns === null ? '' : `?ns=${ns}`}`)
  fc.assert(
    fc.property(fc.constantFrom('GET', 'HEAD', 'PUT', 'X'), url, (method, text) => {
      const route = parseRoute(method, text, undefined)
      if (!('registry' in route)) return
      assert.match(route.registry, /^[a-z0-9.:[\]-]+$/)
      assert.match(route.repository, /^[a-z0-9._/-]+$/)
      assert.ok(!route.repository.includes('..') && !route.repository.includes('//'))
    }),
    { numRuns: 2000 },
  )
})

test('ns wins over a host in the path; a first component that repeats it is dropped', () => {
  const at = (url: string, upstream?: string) => {
    const route = parseRoute('GET', url, upstream)
    return 'registry' in route ? `${route.registry} ${route.repository} ${route.prefix}` : route.type
  }
  assert.equal(at('/v2/docker.io/library/nginx/manifests/v1?ns=harbor.corp'), 'harbor.corp docker.io/library/nginx /v2/')
  assert.equal(at('/v2/docker.io/library/nginx/manifests/v1?ns=docker.io'), 'docker.io library/nginx /v2/docker.io/')
  assert.equal(at('/v2/LOCALHOST:5000/a/manifests/v1'), 'localhost:5000 a /v2/LOCALHOST:5000/')
  assert.equal(at('/v2/localhost/a/manifests/v1', 'docker.io'), 'localhost a /v2/localhost/')
  assert.equal(at('/v2/nginx/manifests/v1?ns=Docker.IO'), 'docker.io library/nginx /v2/')
  assert.equal(at('/v2/org/manifests/manifests/v1', 'quay.io'), 'quay.io org/manifests /v2/')
  assert.equal(at(`/v2/org/app/manifests/${String(DIGEST).replace(':', '%3A')}`, 'quay.io'), 'quay.io org/app /v2/')
  assert.equal(at('/v2/a..b/c/manifests/v1'), 'refused')
  assert.equal(at('http://docker.io/v2/a/manifests/v1'), 'refused')
})

test('a wanted range lies within the blob, for any header', () => {
  const headers = fc.oneof(
    fc.string(),
    fc.tuple(fc.bigInt({ min: 0n, max: 10n ** 20n }), fc.bigInt({ min: 0n, max: 10n ** 20n })).map(([a, b]) => `bytes=${a}-${b}`),
    fc.nat().map((n) => `bytes=-${n}`),
    fc.nat().map((n) => `bytes=${n}-`),
  )
  fc.assert(
    fc.property(headers, fc.nat({ max: 1_000_000 }), (header, size) => {
      const range = wantedRange(header, size)
      if (range === undefined || range === 'unsatisfiable') return
      assert.ok(0 <= range.start && range.start < range.end && range.end <= size)
    }),
  )
  assert.equal(rangeStart('bytes=5-'), 5)
  assert.equal(rangeStart('bytes=-5'), undefined)
  assert.equal(rangeStart('bytes=1-2,5-6'), undefined)
})

test('every code has its answer; a password is asked for over loopback only', () => {
  const answer = (code: ErrorCode, detail?: Record<string, unknown>, overLoopback = true) =>
    refusalOf(new ShoalError(code, 'why', detail === undefined ? {} : { detail }), 'blob', overLoopback)
  assert.equal(answer('STORE_FULL').status, 404)
  assert.equal(answer('NODE_CLOSED').code, 'BLOB_UNKNOWN')
  assert.equal(answer('ORIGIN_FORBIDDEN').code, 'DENIED')
  assert.equal(refusalOf(new TypeError('bug'), 'blob', true).status, 500)
  assert.ok(!refusalOf(new TypeError('secret'), 'blob', true).message.includes('secret'))
  const basic = { challenge: 'Basic realm="reg"' }
  assert.equal(answer('ORIGIN_UNAUTHORIZED', basic).headers['www-authenticate'], 'Basic realm="reg"')
  assert.equal(answer('ORIGIN_UNAUTHORIZED', basic, false).status, 403)
  assert.equal(answer('ORIGIN_UNAUTHORIZED', { challenge: 'Bearer realm="r", Basic realm="reg"' }, false).status, 403)
  const bearer = { challenge: 'Bearer realm="https://auth.example"' }
  assert.equal(answer('ORIGIN_UNAUTHORIZED', bearer, false).headers['www-authenticate'], bearer.challenge)
  for (const challenge of ['Bearer a\r\nX: y', 5, 'B'.repeat(5000)]) {
    const got = answer('ORIGIN_UNAUTHORIZED', { challenge })
    assert.equal(got.status, 401)
    assert.deepEqual(got.headers, {})
  }
  assert.equal(answer('ORIGIN_RATE_LIMITED', { retryAfterMs: 1 }).headers['retry-after'], '1')
})

test('a manifest’s type is its own field, then what it came with, then its shape', () => {
  const type = (body: unknown, stored?: string) => manifestMediaType(Buffer.from(JSON.stringify(body)), stored)
  assert.equal(type({ mediaType: 'a/b' }, 'c/d'), 'a/b')
  assert.equal(type({ mediaType: 'a/b\r\nX: 1', layers: [] }, 'c/d; charset=utf-8'), 'c/d')
  assert.equal(type({ layers: [] }, 'application/octet-stream'), 'application/vnd.oci.image.manifest.v1+json')
  assert.equal(type({ manifests: [] }, 'not a type'), 'application/vnd.oci.image.index.v1+json')
  assert.equal(type({ schemaVersion: 1 }), 'application/vnd.docker.distribution.manifest.v1+json')
  assert.equal(type({}), undefined)
  assert.equal(type([]), undefined)
  assert.equal(manifestMediaType(Buffer.from('{"a"'), 'c/d'), undefined)
  assert.equal(manifestMediaType(Buffer.from([0x1f, 0x8b]), 'c/d'), undefined)
  assert.equal(bareType('text/html<script>'), undefined)
})

test('private addresses are known in every form', () => {
  const inside = [
    'localhost',
    'a.localhost:1',
    '127.1.2.3',
    '10.0.0.1:5000',
    '172.31.0.1',
    '192.168.1.1',
    '169.254.169.254',
    '0.0.0.0',
    '100.64.1.1',
    '[::1]:5000',
    '[fd00::1]',
    '[fe80::1]',
    '[::ffff:127.0.0.1]',
    '127.1',
    '0x7f000001',
  ]
  for (const name of inside) assert.ok(isPrivateName(name), name)
  for (const name of ['docker.io', '8.8.8.8', 'ghcr.io:443', '[2001:db8::1]', 'reg1', '1password.example'])
    assert.ok(!isPrivateName(name), name)
  assert.ok(isLoopback('127.0.0.1') && isLoopback('::1') && isLoopback('::ffff:127.0.0.1'))
  assert.ok(!isLoopback('10.0.0.1') && !isLoopback(''))
})

test('after a cut only what begins anew or goes on there is refused, and only for a moment', () => {
  let now = 0
  const cuts = new Cuts(() => now)
  cuts.answered(DIGEST, { size: 1000, meta: {} })
  assert.equal(cuts.lately(DIGEST)?.size, 1000)
  assert.ok(!cuts.refuses(DIGEST, 0))
  cuts.cut(DIGEST, 100, 150)
  assert.deepEqual(
    [undefined, 0, 99, 100, 150, 151].map((start) => cuts.refuses(DIGEST, start)),
    [true, true, false, true, true, false],
  )
  cuts.cut(DIGEST, 300, 300)
  assert.ok(cuts.refuses(DIGEST, 300) && cuts.refuses(DIGEST, 120))
  now = 6_000
  assert.ok(!cuts.refuses(DIGEST, 100))
  assert.equal(cuts.lately(DIGEST)?.size, 1000)
  now = 11 * 60_000
  assert.equal(cuts.lately(DIGEST)?.size, undefined)
})

test('what expires is bounded in number: the oldest goes first', () => {
  let now = 0
  const map = new ExpiringMap<number>(2, () => now)
  map.set('a', 1, 10)
  map.set('b', 2, 10)
  map.set('c', 3, 10)
  map.set('d', 4, 0)
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((key) => map.get(key)),
    [undefined, 2, 3, undefined],
  )
  now = 10
  assert.equal(map.get('b'), undefined)
})

test('work that is late is the origin’s fault; work in time is not aborted later', async () => {
  await assert.rejects(
    within(5, 'reg.example', () => new Promise(() => {})),
    { code: 'ORIGIN_TIMEOUT' },
  )
  const signal = await within(5, 'reg.example', async (signal) => signal)
  // the next deadline to pass was set later than the one that must not strike any more
  await assert.rejects(
    within(15, 'reg.example', () => new Promise(() => {})),
    { code: 'ORIGIN_TIMEOUT' },
  )
  assert.equal(signal.aborted, false)
  const gone = new AbortController()
  const waiting = within(60_000, 'reg.example', () => new Promise(() => {}), { signal: gone.signal })
  gone.abort(new Error('left'))
  await assert.rejects(waiting, /left/)
})
