import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { BufferPool } from '../../src/store/buffers.ts'
import type { PieceBuffer } from '../../src/store/store.ts'

const KiB = 1024
const MiB = 1024 * KiB
const signal = new AbortController().signal

describe('the buffer pool', () => {
  it('has no memory before it is asked for some, and never more than its bound', async () => {
    const pool = new BufferPool({ totalBytes: 64 * MiB, idleMs: 1 })
    assert.equal(pool.madeBytes, 0)
    const one = await pool.get(100, { signal })
    assert.equal(pool.madeBytes, 16 * MiB)
    const many = await Promise.all(Array.from({ length: 63 }, () => pool.get(1 * MiB, { signal })))
    assert.equal(pool.madeBytes, 64 * MiB)
    for (const buffer of [one, ...many]) buffer.release()
    assert.equal(pool.usedBytes, 0)
  })

  it('gives shared memory of just the length asked for', async () => {
    const pool = new BufferPool({ totalBytes: 1 * MiB, idleMs: 1 })
    const buffer = await pool.get(70_001, { signal })
    assert.equal(buffer.bytes.length, 70_001)
    assert.ok(buffer.bytes.buffer instanceof SharedArrayBuffer)
  })

  it('makes who comes late wait, and serves in order, also when a small one could go first', async () => {
    const pool = new BufferPool({ totalBytes: 1 * MiB, idleMs: 1 })
    const half = await pool.get(512 * KiB, { signal })
    const order: string[] = []
    const noting = (name: string) => (buffer: PieceBuffer) => {
      order.push(name)
      return buffer
    }
    const big = pool.get(1 * MiB, { signal }).then(noting('big'))
    const small = pool.get(64 * KiB, { signal }).then(noting('small'))
    assert.equal(pool.waiting, 2)
    half.release()
    ;(await big).release()
    ;(await small).release()
    assert.deepEqual(order, ['big', 'small'])
  })

  it('lets a waiting caller give up, and does not hold up those behind', async () => {
    const pool = new BufferPool({ totalBytes: 1 * MiB, idleMs: 1 })
    const half = await pool.get(512 * KiB, { signal })
    const stop = new AbortController()
    const big = pool.get(1 * MiB, { signal: stop.signal })
    const small = pool.get(64 * KiB, { signal })
    stop.abort(new Error('enough'))
    await assert.rejects(big, /enough/)
    ;(await small).release()
    half.release()
    assert.equal(pool.waiting, 0)
    assert.equal(pool.usedBytes, 0)
  })

  it('does not count a buffer twice that is released twice', async () => {
    const pool = new BufferPool({ totalBytes: 1 * MiB, idleMs: 1 })
    const [a, b] = [await pool.get(64 * KiB, { signal }), await pool.get(64 * KiB, { signal })]
    a.release()
    a.release()
    assert.equal(pool.usedBytes, 64 * KiB)
    b.release()
  })

  it('never lends the same bytes to two', async () => {
    const lengths = fc.array(fc.record({ length: fc.integer({ min: 1, max: 2 * MiB }), drop: fc.nat(20) }), { maxLength: 60 })
    await fc.assert(
      fc.asyncProperty(lengths, async (steps) => {
        const pool = new BufferPool({ totalBytes: 4 * MiB, idleMs: 1 })
        const held: PieceBuffer[] = []
        for (const { length, drop } of steps) {
          const asked = pool.get(length, { signal })
          while (pool.waiting > 0) held.splice(drop % held.length, 1)[0]?.release()
          held.push(await asked)
          assertApart(held)
          assert.ok(pool.madeBytes <= 4 * MiB)
        }
      }),
      { numRuns: 50 },
    )
  })
})

function assertApart(buffers: readonly PieceBuffer[]): void {
  const spans = buffers.map(({ bytes }) => ({
    memory: bytes.buffer,
    from: bytes.byteOffset,
    to: bytes.byteOffset + bytes.length,
  }))
  for (const a of spans) {
    for (const b of spans) assert.ok(a === b || a.memory !== b.memory || a.to <= b.from || b.to <= a.from, 'two buffers overlap')
  }
}
