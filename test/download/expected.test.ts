import assert from 'node:assert/strict'
import { it } from 'node:test'
import { expectedMs, nearestMs } from '../../src/download/expected.ts'

it('a piece is expected after what the peer owes already, at the rate that it had', () => {
  assert.equal(expectedMs({ bytesPerSecond: 1_000, delayMs: 20, outstandingBytes: 500 }, 250), 770)
  assert.equal(expectedMs({ bytesPerSecond: 1_000, delayMs: undefined, outstandingBytes: 0 }, 100), 110)
})

it('nobody knows when one comes from who has given nothing yet', () => {
  assert.equal(expectedMs({ bytesPerSecond: undefined, delayMs: 20, outstandingBytes: 0 }, 100), undefined)
  assert.equal(expectedMs({ bytesPerSecond: 0, delayMs: 20, outstandingBytes: 0 }, 100), undefined)
})

it('the nearest neighbour’s delay counts, and ten milliseconds while none is known', () => {
  assert.equal(nearestMs([{ delayMs: 30 }, { delayMs: undefined }, { delayMs: 4 }]), 4)
  assert.equal(nearestMs([{ delayMs: undefined }]), 10)
})
