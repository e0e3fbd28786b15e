import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { parseChallenges, usableChallenge } from '../../src/origin/challenge.ts'

const usable = (header: string) => usableChallenge(parseChallenges(header), 'library/app')

test('a bearer challenge is read with its quoted commas and escapes', () => {
  const found = usable(
    'Bearer realm="https://auth.docker.io/token?a=1,2",service="registry \\"x\\"",scope="repository:a/b:pull repository:c:pull"',
  )
  assert.equal(found?.type, 'bearer')
  if (found?.type !== 'bearer') return
  assert.equal(found.realm.href, 'https://auth.docker.io/token?a=1,2')
  assert.equal(found.service, 'registry "x"')
  assert.deepEqual(found.scopes, ['repository:a/b:pull', 'repository:c:pull'])
})

test('a challenge without scope asks for pulling the repository', () => {
  const found = usable('bearer Realm = "http://a/t"')
  assert.deepEqual(found?.type === 'bearer' ? found.scopes : undefined, ['repository:library/app:pull'])
})

test('of several challenges, in one header or more, the bearer one is answered', () => {
  assert.equal(usable('Basic realm="x", Bearer realm="https://a/t",service=s')?.type, 'bearer')
  assert.equal(usable('Negotiate, Basic realm="x"')?.type, 'basic')
})

test('what cannot be answered is no challenge', () => {
  for (const header of [
    '',
    'Negotiate abc==',
    'Bearer',
    'Bearer realm="not a url"',
    'Bearer realm="file:///etc/passwd"',
    '"',
    ',,,=',
  ])
    assert.equal(usable(header), undefined, header)
})

test('credentials in a realm are dropped', () => {
  const found = usable('Bearer realm="https://user:secret@a/t#x"')
  assert.equal(found?.type === 'bearer' && found.realm.href, 'https://a/t')
})

test('any header is read without an exception and in bounded time', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary', maxLength: 400 }), (header) => void usable(header)))
  const started = performance.now()
  for (const header of ['"\\'.repeat(50_000), 'a='.repeat(50_000), `Bearer realm="${'\\'.repeat(90_000)}`, ' ,'.repeat(50_000)])
    usable(header)
  assert.ok(performance.now() - started < 1_000)
})
