import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isPublicAddress } from '../../src/origin/address.ts'
import { codeOfStatus, messageIn, parseRetryAfter } from '../../src/origin/failure.ts'
import { identities } from '../../src/origin/identity.ts'
import { placeOf, rangeHeader } from '../../src/origin/place.ts'
import { realmProblem, registrableDomain } from '../../src/origin/realm.ts'
import { isSameHost, redirectTarget } from '../../src/origin/redirect.ts'
import { parseRelayPath } from '../../src/origin/registry-paths.ts'
import { createUpstreams } from '../../src/origin/upstreams.ts'
import { withCode } from './rig.ts'

test('addresses of hosts, links and private networks are not public, however they are written', () => {
  const hidden = [
    '127.0.0.1',
    '127.9.9.9',
    '10.0.0.1',
    '172.31.255.255',
    '192.168.1.1',
    '169.254.169.254',
    '100.64.0.1',
    '0.0.0.0',
    '224.0.0.1',
  ]
  const hidden6 = [
    '::1',
    '::',
    'fe80::1',
    'fd00::1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    '::ffff:10.0.0.1',
    '64:ff9b::a00:1',
    '2002:7f00:1::',
    'ff02::1',
  ]
  for (const address of [...hidden, ...hidden6, 'nonsense', '']) assert.equal(isPublicAddress(address), false, address)
  for (const address of ['8.8.8.8', '172.32.0.1', '2606:4700::1111', '::ffff:8.8.8.8'])
    assert.equal(isPublicAddress(address), true, address)
})

test('a registrable domain is the part that somebody registered', () => {
  assert.equal(registrableDomain('registry-1.docker.io'), 'docker.io')
  assert.equal(registrableDomain('registry.example.co.uk'), 'example.co.uk')
  assert.equal(registrableDomain('Registry.Example.COM.'), 'example.com')
  assert.equal(registrableDomain('mine.azurecr.io'), 'mine.azurecr.io')
  assert.equal(registrableDomain('localhost'), 'localhost')
})

test('a realm gets credentials only under the domain of the registry', () => {
  const problem = (realm: string, registry: string) => realmProblem(new URL(realm), new URL(registry))
  assert.equal(problem('https://auth.docker.io/token', 'https://registry-1.docker.io'), undefined)
  assert.equal(problem('https://ghcr.io/token', 'https://ghcr.io'), undefined)
  assert.equal(problem('http://anything.example/token', 'http://127.0.0.1:5000'), undefined)
  assert.equal(problem('http://10.0.0.1:5001/token', 'http://10.0.0.1:5000'), undefined)
  assert.match(problem('https://evil.example/token', 'https://registry.example.com') ?? '', /example\.com/)
  assert.match(problem('https://other.azurecr.io/token', 'https://mine.azurecr.io') ?? '', /domain/)
  assert.match(problem('http://registry.example.com/token', 'https://registry.example.com') ?? '', /https/)
  assert.match(problem('https://10.0.0.1/token', 'https://registry.example.com') ?? '', /address/)
  assert.match(problem('https://10.0.0.2/token', 'https://10.0.0.1') ?? '', /address/)
})

test('a redirect is followed unless it loops, is one too many, or leaves https', () => {
  const from = new URL('https://a.example/x')
  const target = (location: string | undefined, visited: string[] = [], max = 10) =>
    redirectTarget(from, location, new Set([from.href, ...visited]), max).href
  assert.equal(target('/y'), 'https://a.example/y')
  assert.equal(target('https://user:secret@b.example/y#z'), 'https://b.example/y')
  for (const location of [undefined, 'http://[', '/x', 'http://a.example/y', 'ftp://a.example/y', 'javascript:1'])
    assert.throws(() => target(location), withCode('ORIGIN_REDIRECT'), location)
  assert.throws(() => target('/y', ['https://a.example/1', 'https://a.example/2'], 2), withCode('ORIGIN_REDIRECT', /more than 2/))
})

test('another port is another host, and the https side of a host is the same', () => {
  const same = (first: string, second: string) => isSameHost(new URL(first), new URL(second))
  assert.equal(same('https://a/x', 'https://a/y'), true)
  assert.equal(same('http://a/x', 'https://a/y'), true)
  assert.equal(same('http://a:5000/x', 'https://a:5001/y'), false)
  assert.equal(same('https://a/x', 'https://b.a/y'), false)
  assert.equal(same('https://a/x', 'http://a/y'), false)
})

test('Retry-After is seconds or a date, and always comes out as a sane time', () => {
  const now = Date.parse('2026-01-01T00:00:00Z')
  assert.equal(parseRetryAfter('7', now), 7_000)
  assert.equal(parseRetryAfter('Thu, 01 Jan 2026 00:01:00 GMT', now), 60_000)
  for (const header of [undefined, '', 'soon', '-5', '0', 'Thu, 01 Jan 2015 00:01:00 GMT'])
    assert.equal(parseRetryAfter(header, now), 2_000, `${header}`)
  assert.equal(parseRetryAfter('999999999999', now), 3_600_000)
})

test('each status of an origin has its code', () => {
  const codes = [204, 304, 400, 401, 403, 404, 410, 416, 429, 451, 500, 503].map(
    (status) => `${status} ${codeOfStatus(status).slice(7)}`,
  )
  assert.equal(
    codes.join(', '),
    '204 PROTOCOL, 304 PROTOCOL, 400 FAILED, 401 UNAUTHORIZED, 403 FORBIDDEN, 404 NOT_FOUND, 410 NOT_FOUND, 416 PROTOCOL, 429 RATE_LIMITED, 451 FORBIDDEN, 500 FAILED, 503 FAILED',
  )
})

test('the message of a registry error is one short line', () => {
  assert.equal(messageIn('{"errors":[{"message":"pull rate\\nlimit\\u001b[31m"}]}'), 'pull rate limit [31m')
  for (const body of ['', 'null', '[]', '{"errors":{}}', '{"errors":[{}]}', '<html>']) assert.equal(messageIn(body), '', body)
})

test('a 206 has to be what was asked for', () => {
  const place = (headers: Record<string, string>, asked: { start: number; end?: number }, status = 206) =>
    placeOf({ status, header: (name: string) => headers[name] }, asked)
  const range = (text: string) => ({ 'content-range': text })
  assert.deepEqual(place({ ...range('bytes 5-9/20'), 'content-length': '5' }, { start: 5, end: 10 }), {
    size: 20,
    start: 5,
    length: 5,
  })
  assert.deepEqual(place(range('bytes 5-19/20'), { start: 5, end: 30 }), { size: 20, start: 5, length: 15 })
  assert.deepEqual(place(range('bytes 5-9/*'), { start: 5, end: 10 }), { size: undefined, start: 5, length: 5 })
  assert.deepEqual(place({ 'content-length': '20' }, { start: 5 }, 200), { size: 20, start: 0, length: 20 })
  const wrong: [Record<string, string>, { start: number; end?: number }][] = [
    [{}, { start: 5 }],
    [range('bytes 5-9/20'), { start: 5 }],
    [range('bytes 6-19/20'), { start: 5 }],
    [range('bytes 5-20/20'), { start: 5 }],
    [range('bytes 5-11/20'), { start: 5, end: 10 }],
    [range('bytes 5-8/20'), { start: 5, end: 10 }],
    [range('bytes 9-5/20'), { start: 9 }],
    [range('items 5-19/20'), { start: 5 }],
    [{ ...range('bytes 5-19/20'), 'content-length': '14' }, { start: 5 }],
    [{ ...range('bytes 5-19/20'), 'content-encoding': 'gzip' }, { start: 5 }],
    [{ ...range('bytes 0-19/20') }, { start: 0 }],
  ]
  for (const [headers, asked] of wrong)
    assert.throws(() => place(headers, asked), withCode('ORIGIN_PROTOCOL'), JSON.stringify(headers))
  assert.throws(() => place({ 'content-length': '-1' }, { start: 0 }, 200), withCode('ORIGIN_PROTOCOL'))
  assert.equal(rangeHeader({ start: 0 }), undefined)
  assert.equal(rangeHeader({ start: 0, end: 1 }), 'bytes=0-0')
  assert.equal(rangeHeader({ start: 7 }), 'bytes=7-')
})

test('a registry is where the operator says, and at https otherwise', () => {
  const upstreams = createUpstreams(new Map([['Corp.example', new URL('http://us%40er:p%3Ass@10.0.0.1:5000/mirror/')]]))
  const corp = upstreams.find('corp.example')
  assert.equal(corp.base.href, 'http://10.0.0.1:5000/mirror')
  assert.equal(corp.authorization, `Basic ${Buffer.from('us@er:p:ss').toString('base64')}`)
  assert.equal(corp.configured, true)
  assert.equal(upstreams.find('docker.io').base.href, 'https://registry-1.docker.io/')
  assert.equal(upstreams.find('index.docker.io').base.href, 'https://registry-1.docker.io/')
  assert.equal(upstreams.find('ghcr.io:444').base.href, 'https://ghcr.io:444/')
  for (const name of ['', 'a/b', 'user@host', 'http://a', 'a b', 'a?b', 'a:99999', 'a\r\nb'])
    assert.throws(() => upstreams.find(name), withCode('REFERENCE_INVALID'), name)
})

test('a request is made as nobody or the operator first, and as the client when it gave usable credentials', () => {
  const names = (service: string | undefined, client: string | undefined) =>
    identities(service, client)
      .map(({ name }) => name)
      .join()
  assert.equal(names(undefined, undefined), 'nobody')
  assert.equal(names(undefined, 'Basic eDp5'), 'nobody,client')
  assert.equal(names('Basic eDp5', 'Bearer abc'), 'service,client')
  for (const useless of ['Negotiate abc', 'Basic', 'Bearer a\r\nb', `Bearer ${'a'.repeat(20_000)}`])
    assert.equal(names(undefined, useless), 'nobody')
})

test('only requests of the pull API can be relayed', () => {
  assert.deepEqual(parseRelayPath('/v2/library/app/tags/list?n=5&last=a%20b'), {
    path: '/v2/library/app/tags/list?n=5&last=a%20b',
    repository: 'library/app',
  })
  for (const path of [
    '/',
    '/v2/',
    '/v2/_catalog',
    '/v2/a/../../admin',
    '/v2/a/uploads/x',
    '@evil/v2/a/tags/list',
    '/v2/UPPER/tags/list',
    '/v2/a/tags/list/..',
  ])
    assert.throws(() => parseRelayPath(path), withCode('REQUEST_INVALID'), path)
})
