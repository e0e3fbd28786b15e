import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Retries } from '../../src/transfer/retries.ts'

describe('a peer that was lost', () => {
  it('is tried again by itself after growing pauses, a few times if it never answered', () => {
    const retries = new Retries()
    const pauses: number[] = []
    let now = 0
    while (retries.worthwhile(now)) {
      retries.lost(false, now)
      const from = now
      while (!retries.allowed(now)) now += 50
      pauses.push(now - from)
    }
    assert.deepEqual(pauses, [100, 200, 400])
  })

  it('is tried for longer if it had answered, and anew once it does', () => {
    const retries = new Retries()
    retries.answered()
    for (let i = 0; i < 7; i++) retries.lost(false, 0)
    assert.ok(retries.worthwhile(60_000))
    retries.lost(false, 0)
    assert.ok(!retries.worthwhile(60_000))
    assert.ok(retries.allowed(60_000), 'when it is named')
    retries.answered()
    assert.ok(retries.worthwhile(60_000))
  })

  it('waits long, and is tried only when it is named, if it broke the protocol', () => {
    const retries = new Retries()
    retries.answered()
    retries.lost(true, 0)
    assert.ok(!retries.allowed(10_000))
    assert.ok(retries.allowed(30_000))
    assert.ok(!retries.worthwhile(30_000))
  })
})
