import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import {
  formatReference,
  isRegistryName,
  isRepositoryName,
  isTag,
  parseReference,
  type Reference,
} from '../../protocols/reference.ts'
import * as any from './arbitraries.ts'

const part = fc.stringMatching(/^[a-z0-9]+([._-][a-z0-9]+)?$/)
const reference: fc.Arbitrary<Reference> = fc.record({
  registry: fc.constantFrom('docker.io', 'ghcr.io', 'localhost', '127.0.0.1:5000', '[::1]:5000', 'registry.example.com:443'),
  repository: fc.array(part, { minLength: 2, maxLength: 5 }).map((parts) => parts.join('/')),
  tag: fc.option(fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/), { nil: undefined }),
  digest: fc.option(any.digest, { nil: undefined }),
})

test('a reference is the same value from its text', () => {
  fc.assert(
    fc.property(reference, (value) => {
      fc.pre(value.repository.length <= 255)
      assert.deepEqual(parseReference(formatReference(value)), { ...value })
    }),
  )
})

test('what is parsed from any text at all is within the grammar, or the text is refused with a code', () => {
  const text = fc.oneof(
    fc.string(),
    fc.string({ unit: fc.constantFrom('a', 'A', '.', ':', '/', '@', '-', '_', '0', '[', ']'), maxLength: 40 }),
  )
  fc.assert(
    fc.property(text, (input) => {
      let parsed: Reference
      try {
        parsed = parseReference(input)
      } catch (error) {
        assert.match((error as { code: string }).code, /^(REFERENCE|DIGEST)_INVALID$/)
        return
      }
      assert.ok(isRegistryName(parsed.registry) && isRepositoryName(parsed.repository))
      assert.ok(parsed.tag === undefined || isTag(parsed.tag))
      assert.deepEqual(parseReference(formatReference(parsed)), parsed)
    }),
    { numRuns: 1000 },
  )
})

test('the old name of docker.io means docker.io', () => {
  assert.equal(formatReference(parseReference('index.docker.io/nginx')), 'docker.io/library/nginx')
})

test('names that leave their place are refused', () => {
  for (const name of [
    '..',
    'a/..',
    'a//b',
    '/a',
    'a/',
    'a/../b',
    'a%2fb',
    'a b',
    'a\n',
    'A',
    '-a',
    'a-',
    'a___b',
    'a'.repeat(256),
  ]) {
    assert.equal(isRepositoryName(name), false, name)
  }
  for (const name of ['', 'a/b', 'a b', '-a', 'a:', 'a:x', 'a:65536', 'a..b', 'user@host', 'http://a', '[::1', 'a\n']) {
    assert.equal(isRegistryName(name), false, name)
  }
  for (const name of ['', '-a', '.a', 'a/b', 'a:b', 'a\n', 'a'.repeat(129)]) assert.equal(isTag(name), false, name)
})
