import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { digestOf } from '../../protocols/digest.ts'
import { ShoalError } from '../../src/errors.ts'
import { CHALLENGE, manifestOf, OCI_MANIFEST, push } from './fake-upstream.ts'
import { errorCode, rig } from './rig.ts'

const NS = '?ns=reg.example'

test('the ping answers 200 with an object, with and without the slash', async (t) => {
  const { get } = await rig(t)
  for (const path of ['/v2', '/v2/']) {
    const got = await get(path)
    assert.equal(got.status, 200)
    assert.equal(got.body.toString(), '{}')
    assert.equal(got.headers['docker-distribution-api-version'], 'registry/2.0')
  }
})

test('a manifest carries its stored type, length, digest and etag, to GET and HEAD, by tag and by digest', async (t) => {
  const { node, get, head } = await rig(t)
  const text = manifestOf('one')
  const digest = push(node.upstream.repository('reg.example/team/app'), text, { mediaType: OCI_MANIFEST, tag: 'v1' })
  for (const reference of ['v1', String(digest)]) {
    for (const ask of [head, get]) {
      const got = await ask(`/v2/team/app/manifests/${reference}${NS}`)
      assert.equal(got.status, 200)
      assert.equal(got.headers['content-type'], OCI_MANIFEST)
      assert.equal(got.headers['content-length'], String(text.length))
      assert.equal(got.headers['docker-content-digest'], String(digest))
      assert.equal(got.headers.etag, `"${digest}"`)
      assert.equal(got.headers['oci-namespace'], 'reg.example')
      assert.equal(got.headers['content-encoding'], undefined)
      assert.equal(got.body.toString(), ask === get ? text : '')
    }
  }
})

test('a manifest of any kind passes byte for byte with its own type', async (t) => {
  const { node, get } = await rig(t)
  const repository = node.upstream.repository('reg.example/team/app')
  const kinds = [
    ['{"schemaVersion":2,"mediaType":"application/vnd.x.artifact+json"}', undefined, 'application/vnd.x.artifact+json'],
    ['{ "schemaVersion": 2, "manifests": [] }', undefined, 'application/vnd.oci.image.index.v1+json'],
    ['{"schemaVersion":1,"signatures":[]}', undefined, 'application/vnd.docker.distribution.manifest.v1+prettyjws'],
    ['{"schemaVersion":2,"odd":1}', 'application/vnd.odd+json; charset=utf-8', 'application/vnd.odd+json'],
  ] as const
  for (const [text, mediaType, expected] of kinds) {
    const digest = push(repository, text, mediaType === undefined ? {} : { mediaType })
    const got = await get(`/v2/team/app/manifests/${digest}${NS}`)
    assert.equal(got.headers['content-type'], expected)
    assert.equal(got.body.toString(), text)
  }
})

test('what Accept says does not matter, and a range of a manifest is answered with the whole', async (t) => {
  const { node, get } = await rig(t)
  const text = manifestOf('one')
  push(node.upstream.repository('reg.example/team/app'), text, { mediaType: OCI_MANIFEST, tag: 'v1' })
  const accepts: (string | string[])[] = ['*/*', 'text/html;q=0', ['application/json', OCI_MANIFEST, 'a/b', 'c/d', 'e/f', 'g/h']]
  for (const accept of accepts) {
    const got = await get(`/v2/team/app/manifests/v1${NS}`, { accept, range: 'bytes=0-' })
    assert.equal(got.status, 200)
    assert.equal(got.body.toString(), text)
  }
})

test('a blob carries what clients look for, to GET and HEAD', async (t) => {
  const { node, get, head } = await rig(t)
  const bytes = randomBytes(200_000)
  const digest = push(node.upstream.repository('reg.example/team/app'), bytes)
  for (const ask of [head, get]) {
    const got = await ask(`/v2/team/app/blobs/${digest}${NS}`, { 'accept-encoding': 'gzip' })
    assert.equal(got.status, 200)
    assert.equal(got.headers['content-length'], '200000')
    assert.equal(got.headers['docker-content-digest'], String(digest))
    assert.equal(got.headers['accept-ranges'], 'bytes')
    assert.equal(got.headers['content-type'], 'application/octet-stream')
    assert.equal(got.headers.etag, `"${digest}"`)
    assert.equal(got.headers['cache-control'], 'max-age=31536000, immutable')
    assert.equal(got.headers['content-encoding'], undefined)
    if (ask === get) assert.ok(got.body.equals(bytes))
  }
  assert.equal(node.openBlobs, 0)
  assert.equal(node.outstanding, 0)
})

test('single ranges are answered with 206, clamped', async (t) => {
  const { node, get } = await rig(t)
  const bytes = randomBytes(150_000)
  const digest = push(node.upstream.repository('reg.example/team/app'), bytes)
  const path = `/v2/team/app/blobs/${digest}${NS}`
  const cases = [
    ['bytes=0-', 0, 150_000],
    ['bytes=70000-', 70_000, 150_000],
    ['bytes=500-1499', 500, 1500],
    ['bytes=-500', 149_500, 150_000],
    ['bytes=149000-99999999999999999999', 149_000, 150_000],
    ['bytes=-9999999', 0, 150_000],
  ] as const
  for (const [range, start, end] of cases) {
    const got = await get(path, { range })
    assert.equal(got.status, 206, range)
    assert.equal(got.headers['content-range'], `bytes ${start}-${end - 1}/150000`)
    assert.equal(got.headers['content-length'], String(end - start))
    assert.ok(got.body.equals(bytes.subarray(start, end)), range)
  }
})

test('what lies outside is 416 with the size; garbage, other units and lists of ranges are answered with the whole', async (t) => {
  const { node, get } = await rig(t)
  const bytes = randomBytes(1000)
  const digest = push(node.upstream.repository('reg.example/team/app'), bytes)
  const path = `/v2/team/app/blobs/${digest}${NS}`
  for (const range of ['bytes=1000-', 'bytes=500-0', 'bytes=-0', 'bytes=99999999999999999999-']) {
    const got = await get(path, { range })
    assert.equal(got.status, 416, range)
    assert.equal(got.headers['content-range'], 'bytes */1000')
    assert.equal(got.headers['content-length'], String(got.body.length))
    assert.equal(errorCode(got), 'RANGE_INVALID')
  }
  for (const range of ['items=0-1', 'bytes=x-y', 'bytes', 'bytes=', 'bytes=0-1,5-9', 'bytes=1-2-3']) {
    const got = await get(path, { range })
    assert.equal(got.status, 200, range)
    assert.ok(got.body.equals(bytes))
  }
})

test('the empty blob is answered whole, with or without a range', async (t) => {
  const { node, get } = await rig(t)
  const digest = push(node.upstream.repository('reg.example/team/app'), '')
  for (const headers of [{}, { range: 'bytes=0-' }] as Record<string, string>[]) {
    const got = await get(`/v2/team/app/blobs/${digest}${NS}`, headers)
    assert.equal(got.status, 200)
    assert.equal(got.headers['content-length'], '0')
  }
  assert.equal(node.openBlobs, 0)
})

test('If-None-Match is answered 304 for the same content, and If-Range lets a range through only for the same content', async (t) => {
  const { node, get, head } = await rig(t)
  const repository = node.upstream.repository('reg.example/team/app')
  const manifest = push(repository, manifestOf('one'), { mediaType: OCI_MANIFEST, tag: 'v1' })
  const blob = push(repository, 'layer')
  for (const [path, digest] of [
    [`/v2/team/app/manifests/v1${NS}`, manifest],
    [`/v2/team/app/manifests/${manifest}${NS}`, manifest],
    [`/v2/team/app/blobs/${blob}${NS}`, blob],
  ] as const) {
    for (const etag of [`"${digest}"`, `${digest}`, `W/"${digest}"`, '*', `"other", "${digest}"`]) {
      for (const ask of [get, head]) {
        const got = await ask(path, { 'if-none-match': etag })
        assert.equal(got.status, 304)
        assert.equal(got.headers.etag, `"${digest}"`)
        assert.equal(got.headers['docker-content-digest'], String(digest))
      }
    }
    assert.equal((await get(path, { 'if-none-match': '"other"' })).status, 200)
  }
  const path = `/v2/team/app/blobs/${blob}${NS}`
  assert.equal((await get(path, { range: 'bytes=1-2', 'if-range': `"${blob}"` })).status, 206)
  for (const other of ['"other"', `W/"${blob}"`, 'Sat, 21 Nov 2026 12:00:00 GMT']) {
    assert.equal((await get(path, { range: 'bytes=1-2', 'if-range': other })).status, 200)
  }
})

test('a tag that moved is answered anew although the client names the old content', async (t) => {
  const { node, get, head } = await rig(t, { tagTtlMs: 0 })
  const repository = node.upstream.repository('reg.example/team/app')
  const old = push(repository, manifestOf('old'), { mediaType: OCI_MANIFEST, tag: 'v1' })
  const path = `/v2/team/app/manifests/v1${NS}`
  assert.equal((await head(path, { 'if-none-match': `"${old}"` })).status, 304)
  const moved = push(repository, manifestOf('new'), { mediaType: OCI_MANIFEST, tag: 'v1' })
  for (const ask of [head, get]) {
    const got = await ask(path, { 'if-none-match': `"${old}"` })
    assert.equal(got.status, 200)
    assert.equal(got.headers['docker-content-digest'], String(moved))
  }
})

test('unknown tags, digests and blobs are 404 with the code of their kind', async (t) => {
  const { node, get, head } = await rig(t)
  node.upstream.repository('reg.example/team/app')
  const digest = digestOf(Buffer.from('nowhere'))
  for (const [path, code] of [
    [`/v2/team/app/manifests/none${NS}`, 'MANIFEST_UNKNOWN'],
    [`/v2/team/app/manifests/${digest}${NS}`, 'MANIFEST_UNKNOWN'],
    [`/v2/team/app/blobs/${digest}${NS}`, 'BLOB_UNKNOWN'],
  ] as const) {
    const got = await get(path)
    assert.equal(got.status, 404)
    assert.equal(errorCode(got), code)
    assert.equal(got.headers['content-type'], 'application/json')
    const headed = await head(path)
    assert.equal(headed.status, 404)
    assert.equal(headed.body.length, 0)
  }
})

test('an upstream that can not be reached is 404 at first contact, so that clients go on to the registry', async (t) => {
  for (const code of ['ORIGIN_UNREACHABLE', 'ORIGIN_TIMEOUT', 'ORIGIN_FAILED', 'ORIGIN_PROTOCOL', 'ORIGIN_REDIRECT'] as const) {
    const { node, get } = await rig(t)
    node.upstream.failure = new ShoalError(code, 'down')
    const digest = digestOf(Buffer.from('x'))
    for (const path of ['manifests/v1', `manifests/${digest}`, `blobs/${digest}`]) {
      assert.equal((await get(`/v2/team/app/${path}${NS}`)).status, 404, `${code} ${path}`)
    }
  }
})

test('upstream’s 401 comes with its challenge, 403 as 403, 429 with Retry-After', async (t) => {
  const { node, get } = await rig(t)
  const digest = push(node.upstream.repository('reg.example/team/app', { wants: 'Bearer good' }), 'x')
  node.upstream.repository('reg.example/team/closed', { wants: 'Bearer good', refusal: 'ORIGIN_FORBIDDEN' })
  for (const path of ['manifests/v1', `manifests/${digest}`, `blobs/${digest}`]) {
    const got = await get(`/v2/team/app/${path}${NS}`)
    assert.equal(got.status, 401)
    assert.equal(errorCode(got), 'UNAUTHORIZED')
    assert.equal(got.headers['www-authenticate'], CHALLENGE)
    const denied = await get(`/v2/team/closed/${path}${NS}`)
    assert.equal(denied.status, 403)
    assert.equal(errorCode(denied), 'DENIED')
  }
  node.upstream.failure = new ShoalError('ORIGIN_RATE_LIMITED', 'slow down', { detail: { retryAfterMs: 2500 } })
  const limited = await get(`/v2/team/other/manifests/v1${NS}`)
  assert.equal(limited.status, 429)
  assert.equal(limited.headers['retry-after'], '3')
  assert.equal(errorCode(limited), 'TOOMANYREQUESTS')
})

test('a manifest that is too large is refused without being read, and one that is no manifest is unknown', async (t) => {
  const { node, get } = await rig(t)
  const repository = node.upstream.repository('reg.example/team/app')
  const large = push(repository, Buffer.alloc(4 * 1024 * 1024 + 1))
  const layer = push(repository, randomBytes(1000))
  const tooLarge = await get(`/v2/team/app/manifests/${large}${NS}`)
  assert.equal(tooLarge.status, 413)
  assert.equal(errorCode(tooLarge), 'SIZE_INVALID')
  assert.equal(node.piecesRead, 0)
  const got = await get(`/v2/team/app/manifests/${layer}${NS}`)
  assert.equal(got.status, 404)
  assert.equal(errorCode(got), 'MANIFEST_UNKNOWN')
  assert.equal(node.outstanding, 0)
})

test('a manifest whose bytes are not its digest is 502 and never sent', async (t) => {
  const { node, get } = await rig(t)
  const digest = digestOf(Buffer.from('right'))
  node.held.set(String(digest), { bytes: Buffer.from(manifestOf('wrong')), meta: { mediaType: OCI_MANIFEST } })
  const got = await get(`/v2/team/app/manifests/${digest}${NS}`)
  assert.equal(got.status, 502)
  assert.equal(errorCode(got), 'MANIFEST_INVALID')
})

test('sha512 names content as well', async (t) => {
  const { node, get } = await rig(t)
  const bytes = randomBytes(100)
  const digest = digestOf(bytes, 'sha512')
  node.held.set(String(digest), { bytes, meta: {} })
  const got = await get(`/v2/team/app/blobs/${digest}${NS}`)
  assert.ok(got.body.equals(bytes))
})

test('the registry may stand in the path, in ns, or be the listener’s default', async (t) => {
  const { node, get } = await rig(t, { defaultUpstream: 'docker.io' })
  const digest = push(node.upstream.repository('docker.io/library/nginx'), 'x')
  const other = push(node.upstream.repository('quay.io/org/app'), 'y')
  assert.equal((await get(`/v2/library/nginx/blobs/${digest}`)).status, 200)
  assert.equal((await get(`/v2/docker.io/library/nginx/blobs/${digest}`)).status, 200)
  assert.equal((await get(`/v2/library/nginx/blobs/${digest}?ns=docker.io`)).headers['oci-namespace'], 'docker.io')
  assert.equal((await get(`/v2/quay.io/org/app/blobs/${other}`)).status, 200)
  assert.deepEqual(
    new Set(node.upstream.calls.map((c) => c.what.split(' ')[0])),
    new Set(['docker.io/library/nginx', 'quay.io/org/app']),
  )
})

test('bad names, tags, digests and namespaces are refused without asking anybody', async (t) => {
  const { node, get } = await rig(t)
  const digest = digestOf(Buffer.from('x'))
  const cases = [
    [`/v2/Team/app/manifests/v1${NS}`, 400, 'NAME_INVALID'],
    [`/v2/team/../app/manifests/v1${NS}`, 400, 'NAME_INVALID'],
    [`/v2/team//app/manifests/v1${NS}`, 400, 'NAME_INVALID'],
    [`/v2/team/%2e%2e/app/manifests/v1${NS}`, 400, 'NAME_INVALID'],
    [`/v2/${'a'.repeat(256)}/manifests/v1${NS}`, 400, 'NAME_INVALID'],
    [`/v2/team/app/manifests/${'t'.repeat(129)}${NS}`, 400, 'MANIFEST_INVALID'],
    [`/v2/team/app/manifests/a%20b${NS}`, 400, 'MANIFEST_INVALID'],
    [`/v2/team/app/manifests/sha256:baddigeststring${NS}`, 400, 'DIGEST_INVALID'],
    [`/v2/team/app/blobs/sha256:${'A'.repeat(64)}${NS}`, 400, 'DIGEST_INVALID'],
    [`/v2/team/app/blobs/md5:${'a'.repeat(32)}${NS}`, 400, 'DIGEST_INVALID'],
    [`/v2/team/app/blobs/${digest}`, 404, 'NAME_UNKNOWN'],
    [`/v2/team/app/blobs/${digest}?ns=a.example&ns=b.example`, 400, 'NAME_INVALID'],
    [`/v2/team/app/blobs/${digest}?ns=`, 400, 'NAME_INVALID'],
    [`/v2/team/app/blobs/${digest}?ns=http%3A%2F%2Fa.example`, 400, 'NAME_INVALID'],
    [`/v2/team/app/blobs/${digest}?ns=a.example%2Fpath`, 400, 'NAME_INVALID'],
    [`/v2/team/app/blobs/${digest}?ns=user%40a.example`, 400, 'NAME_INVALID'],
    [`/v2/team/app/blobs/${digest}?ns=a.example%0d%0aX%3A1`, 400, 'NAME_INVALID'],
    [`/v2/_catalog`, 404, 'UNSUPPORTED'],
    [`/v1/_ping`, 404, 'UNSUPPORTED'],
    [`/v2/team/app/nothing/x`, 404, 'UNSUPPORTED'],
  ] as const
  for (const [path, status, code] of cases) {
    const got = await get(path)
    assert.equal(got.status, status, path)
    assert.equal(errorCode(got), code, path)
  }
  assert.deepEqual(node.upstream.calls, [])
})

test('registries on private addresses are refused, unless they are configured', async (t) => {
  const { node, get } = await rig(t, { upstreams: ['127.0.0.1:5000'] })
  const digest = push(node.upstream.repository('127.0.0.1:5000/team/app'), 'x')
  for (const ns of [
    '169.254.169.254',
    '127.0.0.1:7400',
    'localhost:7400',
    '10.0.0.1',
    '[::1]:80',
    '[::ffff:10.0.0.1]',
    '2130706433',
    '0x7f.1',
  ]) {
    const got = await get(`/v2/team/app/blobs/${digest}?ns=${encodeURIComponent(ns)}`)
    assert.equal(got.status, 403, ns)
    assert.equal(errorCode(got), 'DENIED')
  }
  assert.deepEqual(node.upstream.calls, [])
  assert.equal((await get(`/v2/team/app/blobs/${digest}?ns=127.0.0.1%3A5000`)).status, 200)
})

test('writing is 405 and says what is allowed', async (t) => {
  const { get } = await rig(t, { defaultUpstream: 'docker.io' })
  const digest = digestOf(Buffer.from('x'))
  for (const method of ['PUT', 'POST', 'PATCH', 'DELETE']) {
    for (const path of [
      `/v2/a/manifests/v1`,
      `/v2/a/blobs/${digest}`,
      '/v2/a/blobs/uploads/',
      '/v2/a/blobs/uploads/uuid',
      '/v2/',
    ]) {
      const got = await get(path, {}, method)
      assert.equal(got.status, 405, `${method} ${path}`)
      assert.equal(got.headers.allow, 'GET, HEAD')
      assert.equal(errorCode(got), 'UNSUPPORTED')
    }
  }
})

test('a request of ours that came back is refused rather than sent round again', async (t) => {
  const { node, get } = await rig(t, { via: 'shoal-12D3' })
  const path = `/v2/team/app/manifests/v1${NS}`
  assert.equal((await get(path, { via: '1.1 proxy, 1.1 shoal-12D3' })).status, 404)
  assert.deepEqual(node.upstream.calls, [])
  await get(path, { via: '1.1 shoal-other' })
  assert.equal(node.upstream.count('resolveTag'), 1)
})

test('web pages are not answered: neither other origins nor names that were made to point here', async (t) => {
  const { get, port } = await rig(t)
  const refused = [
    { host: 'evil.example' },
    { host: `evil.example:${port}` },
    { origin: 'http://evil.example' },
    { origin: 'null' },
    { 'sec-fetch-site': 'cross-site' },
  ] as Record<string, string>[]
  for (const headers of refused) {
    const got = await get('/v2/', headers)
    assert.equal(got.status, 403, JSON.stringify(headers))
    assert.equal(got.headers['access-control-allow-origin'], undefined)
  }
  for (const host of ['localhost', `127.0.0.1:${port}`, '[::1]:1', 'mirror', 'host.docker.internal']) {
    assert.equal((await get('/v2/', { host })).status, 200)
  }
})

test('tags lists and referrers are upstream’s answer, with the client’s own credentials and the next page led back here', async (t) => {
  const { node, get } = await rig(t)
  const digest = digestOf(Buffer.from('x'))
  const answer = (headers: Record<string, string>) => ({
    status: 200,
    headers,
    body: (async function* () {
      yield Buffer.from('{"name":"team/app","tags":["a"]}')
    })(),
  })
  node.upstream.relayed = answer({ 'content-type': 'application/json', link: '</v2/team/app/tags/list?last=a&n=1>; rel="next"' })
  const got = await get(`/v2/team/app/tags/list${NS}&n=1`, { authorization: 'Bearer mine' })
  assert.equal(got.status, 200)
  assert.equal(got.headers.link, '</v2/team/app/tags/list?last=a&n=1&ns=reg.example>; rel="next"')
  assert.deepEqual(node.upstream.calls, [{ call: 'relay', what: '/v2/team/app/tags/list?n=1', authorization: 'Bearer mine' }])
  node.upstream.relayed = answer({ 'content-type': 'application/json', link: '</v2/team/app/tags/list?last=a>; rel="next"' })
  const inPath = await get('/v2/reg.example/team/app/tags/list')
  assert.equal(inPath.headers.link, '</v2/reg.example/team/app/tags/list?last=a>; rel="next"')
  node.upstream.relayed = answer({
    'content-type': 'application/vnd.oci.image.index.v1+json',
    'oci-filters-applied': 'artifactType',
  })
  const referrers = await get(`/v2/team/app/referrers/${digest}${NS}&artifactType=a%2Fb`)
  assert.equal(referrers.headers['content-type'], 'application/vnd.oci.image.index.v1+json')
  assert.equal(referrers.headers['oci-filters-applied'], 'artifactType')
  assert.equal(node.upstream.calls.at(-1)?.what, `/v2/team/app/referrers/${digest}?artifactType=a%2Fb`)
  node.upstream.relayed = undefined
  assert.equal((await get(`/v2/team/app/referrers/${digest}${NS}`)).status, 404)
  node.upstream.failure = new ShoalError('ORIGIN_UNREACHABLE', 'down')
  assert.equal((await get(`/v2/team/app/tags/list${NS}`)).status, 404)
})
