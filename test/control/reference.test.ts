import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { formatReference, parseReference } from '../../protocols/reference.ts'
import { ShoalError } from '../../src/errors.ts'

const DIGEST = `sha256:${'ab'.repeat(32)}`

test('references are read as docker and podman read them', () => {
  for (const [text, full] of [
    ['nginx', 'docker.io/library/nginx'],
    ['nginx:1.27', 'docker.io/library/nginx:1.27'],
    ['org/app', 'docker.io/org/app'],
    ['docker.io/nginx', 'docker.io/library/nginx'],
    ['ghcr.io/org/sub/app:v1', 'ghcr.io/org/sub/app:v1'],
    ['localhost/app', 'localhost/app'],
    ['127.0.0.1:5000/app', '127.0.0.1:5000/app'],
    ['[::1]:5000/app:x', '[::1]:5000/app:x'],
    [`a.example/b@${DIGEST}`, `a.example/b@${DIGEST}`],
    [`a.example/b:tag@${DIGEST}`, `a.example/b:tag@${DIGEST}`],
  ] as const) {
    assert.equal(formatReference(parseReference(text)), full)
    assert.equal(formatReference(parseReference(full)), full)
  }
  assert.equal(formatReference(parseReference('app', 'ghcr.io')), 'ghcr.io/app')
})

test('what is not a reference is refused with a code', () => {
  for (const text of [
    '',
    '/',
    'Upper/case',
    'a.example/',
    'a b',
    'a:',
    'a:b:c',
    'a@b',
    `a@${DIGEST}@${DIGEST}`,
    'a..b/c',
    '../x',
    'a.example:99999/b',
    `${'a'.repeat(300)}`,
  ]) {
    assert.throws(
      () => parseReference(text),
      (e) => e instanceof ShoalError && /^(REFERENCE|DIGEST)_INVALID$/.test(e.code),
      text,
    )
  }
})

test('no text makes the parser do anything but answer or refuse', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        const parsed = parseReference(text)
        assert.deepEqual(parseReference(formatReference(parsed)), parsed)
      } catch (error) {
        assert.ok(error instanceof ShoalError)
      }
    }),
  )
})
