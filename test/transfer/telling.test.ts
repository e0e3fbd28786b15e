import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { gatherMs } from '../../src/transfer/telling.ts'

const LIMITS = { haveMs: 15, maxHaveMs: 400 }

describe('news of pieces', () => {
  it('is gathered for a moment when peers have heard nothing for long', () => {
    assert.equal(gatherMs({ first: false, subscribers: 64, toldMs: Number.POSITIVE_INFINITY }, LIMITS), 15)
    assert.equal(gatherMs({ first: false, subscribers: 64, toldMs: 400 }, LIMITS), 15)
  })

  it('waits the longer after the last the more peers are to be told, within bounds', () => {
    assert.equal(gatherMs({ first: false, subscribers: 8, toldMs: 50 }, LIMITS), 150)
    assert.equal(gatherMs({ first: false, subscribers: 64, toldMs: 50 }, LIMITS), 350)
    assert.equal(gatherMs({ first: false, subscribers: 0, toldMs: 0 }, LIMITS), 15)
  })

  it('of what nobody else holds waits for nothing', () => {
    assert.equal(gatherMs({ first: true, subscribers: 64, toldMs: 0 }, LIMITS), 15)
  })
})
