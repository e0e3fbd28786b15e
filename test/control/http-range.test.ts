import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { contentRange, parseRange } from '../../protocols/http-range.ts'

test('ranges are read as the RFC and the conformance suite of registries say', () => {
  const size = 10_000
  for (const [header, expected] of [
    [undefined, undefined],
    ['bytes=500-1499', { start: 500, end: 1500 }],
    ['bytes=500-', { start: 500, end: 10_000 }],
    ['bytes=-500', { start: 9_500, end: 10_000 }],
    ['bytes=-50000', { start: 0, end: 10_000 }],
    ['bytes=2000-50000', { start: 2_000, end: 10_000 }],
    ['Bytes=0-0', { start: 0, end: 1 }],
    ['bytes=500-0', 'unsatisfiable'],
    ['bytes=10000-', 'unsatisfiable'],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=', 'unsatisfiable'],
    ['bytes=a-b', 'unsatisfiable'],
    ['bytes=0x1-2', 'unsatisfiable'],
    ['items=0-1', undefined],
    ['bytes=0-1,5-6', undefined],
    ['nonsense', undefined],
  ] as const) {
    assert.deepEqual(parseRange(header, size), expected, String(header))
  }
  assert.equal(parseRange('bytes=0-', 0), 'unsatisfiable')
  assert.equal(contentRange({ start: 1, end: 3 }, 9), 'bytes 1-2/9')
  assert.equal(contentRange(undefined, 9), 'bytes */9')
})

test('whatever the header, a range lies inside the body', () => {
  const header = fc.oneof(fc.string(), fc.stringMatching(/^bytes=[0-9,-]{0,40}$/))
  fc.assert(
    fc.property(header, fc.nat(), (text, size) => {
      const range = parseRange(text, size)
      if (typeof range === 'object') assert.ok(0 <= range.start && range.start < range.end && range.end <= size)
    }),
  )
})
