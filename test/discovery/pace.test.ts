import assert from 'node:assert/strict'
import { test } from 'node:test'
import { beaconIntervalMs, expiryMs, newsDelayMs, newsGapMs, welcomeDelayMs } from '../../src/discovery/pace.ts'
import { RateMeter } from '../../src/discovery/rate-meter.ts'
import { TokenBucket } from '../../src/token-bucket.ts'

test('beacons and news of a whole zone stay within about 100 messages a second, whatever its size', () => {
  for (const nodes of [1, 2, 10, 100, 500, 1_000, 2_000, 3_000]) {
    const perSecond = (nodes * 1000) / beaconIntervalMs(nodes) + (nodes * 1000) / newsGapMs(nodes)
    assert.ok(perSecond <= 100 + 1e-6, `${nodes} nodes: ${perSecond} messages a second`)
  }
})

test('a small zone beacons often, a large one seldom', () => {
  assert.equal(beaconIntervalMs(2), 10_000)
  assert.equal(beaconIntervalMs(1_000), 20_000)
  assert.equal(beaconIntervalMs(1_000_000), 60_000)
})

test('when more is heard than the size explains, beacons move apart, and patience with them', () => {
  assert.equal(beaconIntervalMs(500, 200), 2 * beaconIntervalMs(500))
  assert.equal(beaconIntervalMs(500, 1_000_000), 4 * beaconIntervalMs(500))
  assert.equal(expiryMs(beaconIntervalMs(500, 200)), 3 * beaconIntervalMs(500, 200))
  assert.equal(expiryMs(beaconIntervalMs(2)), 30_000)
})

test('news goes out soon in a quiet zone, later in a busy one, and never closer to the last than the gap', () => {
  const middle = () => 0.5
  assert.equal(newsDelayMs({ nodes: 1_000, heardPerSecond: 5, sinceLastMs: Number.POSITIVE_INFINITY }, middle), 200)
  assert.equal(newsDelayMs({ nodes: 1_000, heardPerSecond: 80, sinceLastMs: Number.POSITIVE_INFINITY }, middle), 20_000)
  assert.equal(newsDelayMs({ nodes: 1_000, heardPerSecond: 5, sinceLastMs: 1_000 }, middle), 19_000)
})

test('a newcomer to a small zone is told within a fraction of a second', () => {
  assert.ok(welcomeDelayMs(16, () => 0.999) < 350)
})

test('a bucket lets a burst through, then one for each refill', () => {
  const bucket = new TokenBucket()
  const limits = { burst: 3, refillMs: 1_000 }
  const taken = (now: number) => bucket.take(now, limits)
  assert.deepEqual([taken(5_000), taken(5_000), taken(5_000), taken(5_000)], [true, true, true, false])
  assert.deepEqual([taken(5_900), taken(6_000), taken(6_000)], [false, true, false])
})

test('the meter gives the rate of the last seconds and forgets what is older', () => {
  const meter = new RateMeter()
  for (let now = 0; now < 20_000; now += 20) meter.count(now)
  assert.ok(Math.abs(meter.perSecond(20_000) - 50) < 1, `${meter.perSecond(20_000)}`)
  assert.equal(meter.perSecond(40_000), 0)
})
