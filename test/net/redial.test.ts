import assert from 'node:assert/strict'
import { it } from 'node:test'
import { redialDelayMs } from '../../src/net/redial.ts'

it('waits longer after each try, never more than half a minute, and not all at the same moment', () => {
  assert.equal(redialDelayMs(0, 0), 500)
  assert.equal(redialDelayMs(0, 1), 250)
  assert.equal(redialDelayMs(3, 0), 4_000)
  assert.equal(redialDelayMs(60, 0), 30_000)
  assert.equal(redialDelayMs(5_000, 0.5), 22_500)
})
