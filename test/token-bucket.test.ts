import assert from 'node:assert/strict'
import { test } from 'node:test'
import { TokenBucket } from '../src/token-bucket.ts'

const LIMITS = { burst: 10, refillMs: 100 }

test('a full bucket gives its burst at once, and then one each so many milliseconds', () => {
  const bucket = new TokenBucket()
  const taken = Array.from({ length: 12 }, () => bucket.take(0, LIMITS))
  assert.deepEqual(taken.filter(Boolean).length, 10)
  assert.equal(bucket.take(99, LIMITS), false)
  assert.equal(bucket.take(100, LIMITS), true)
  assert.equal(bucket.take(100, LIMITS), false)
})

test('an idle bucket fills no further than its burst', () => {
  const bucket = new TokenBucket()
  assert.equal(bucket.take(0, LIMITS, 10), true)
  assert.equal(bucket.take(1_000_000, LIMITS, 10), true)
  assert.equal(bucket.take(1_000_000, LIMITS), false)
})

test('more than the burst may be taken from a full bucket, and the rest is owed', () => {
  const bucket = new TokenBucket()
  assert.equal(bucket.take(0, LIMITS, 30), true)
  assert.equal(bucket.waitMs(0, LIMITS, 1), 2_100)
  assert.equal(bucket.waitMs(0, LIMITS, 30), 3_000)
  assert.equal(bucket.take(2_099, LIMITS), false)
  assert.equal(bucket.take(2_101, LIMITS), true)
})

test('what is owed is waited for, however long the bucket had been idle, and what is given back is there at once', () => {
  const bucket = new TokenBucket()
  bucket.owe(1_000_000, LIMITS, 15)
  assert.equal(bucket.waitMs(1_000_000, LIMITS, 1), 600)
  bucket.owe(1_000_000, LIMITS, -15)
  assert.equal(bucket.take(1_000_000, LIMITS, 10), true)
})
