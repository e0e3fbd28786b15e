import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { test } from 'node:test'
import { describeError, ERRORS, EXIT_CODES, errorsTable, exitCodeOf, isErrorCode, ShoalError, statusOf } from '../src/errors.ts'

test('the page about errors is the table in the code', async () => {
  assert.equal(await readFile(new URL('../src/errors.md', import.meta.url), 'utf8'), errorsTable())
})

test('every error has an HTTP status that is an error and an exit code that is documented', () => {
  const documented = new Set<number>(Object.values(EXIT_CODES).map((e) => e.code))
  for (const [code, entry] of Object.entries(ERRORS)) {
    assert.ok(isErrorCode(code))
    assert.ok(statusOf(code) >= 400 && statusOf(code) < 600, code)
    assert.ok(exitCodeOf(code) > 0 && documented.has(exitCodeOf(code)), code)
    assert.ok(entry.meaning.length > 0 && entry.remedy.length > 0 && !`${entry.meaning}${entry.remedy}`.includes('|'), code)
  }
})

test('what is absent, unreachable and wrong can be told apart by exit code', () => {
  assert.equal(exitCodeOf('CONFIG_INVALID'), 2)
  assert.equal(exitCodeOf('BLOB_UNKNOWN'), 3)
  assert.equal(exitCodeOf('ORIGIN_NOT_FOUND'), 3)
  assert.equal(exitCodeOf('DAEMON_UNREACHABLE'), 4)
  assert.equal(exitCodeOf('DIGEST_MISMATCH'), 5)
  assert.equal(exitCodeOf(undefined), 1)
})

test('an error that is not ours does not show its message to a caller', () => {
  assert.deepEqual(describeError(new ShoalError('BLOB_UNKNOWN', 'nobody has it')), {
    code: 'BLOB_UNKNOWN',
    message: 'nobody has it',
  })
  const shown = describeError(new Error('ENOENT: /root/secret'))
  assert.equal(shown.code, 'INTERNAL')
  assert.ok(!shown.message.includes('secret'))
  assert.ok(!isErrorCode('toString'))
})
