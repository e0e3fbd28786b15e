import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'
import { createPieceAnswerDecoder, encodePieceHead } from '../../protocols/piece/codec.ts'
import { geometryOf } from '../../protocols/pieces.ts'
import { WRITE_BYTES } from '../../src/net/channel.ts'
import { FramePool } from '../../src/transfer/frame-pool.ts'
import { type Frame, Packer } from '../../src/transfer/packer.ts'
import { content } from './rig.ts'

const headOf = (id: number, length: number) =>
  encodePieceHead({ type: 'head', id, status: 'ok', size: length, length, load: 0, mediaType: undefined, claim: undefined })

describe('packing', () => {
  it('gives back every answer as it was, in full frames, whatever the lengths', () => {
    const lengths = fc.array(fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: geometryOf(1).pieceBytes })), {
      minLength: 1,
      maxLength: 6,
    })
    fc.assert(
      fc.property(lengths, (lengths) => {
        const jobs = lengths.map((length, id) => ({ id, packed: 0, bytes: content(length) }))
        const packer = new Packer<(typeof jobs)[0]>(new FramePool())
        const frames: Frame<(typeof jobs)[0]>[] = []
        for (const job of jobs) {
          const half = job.bytes.length >> 1
          frames.push(
            ...packer.add(job, headOf(job.id, job.bytes.length), job.bytes.subarray(0, half), half === job.bytes.length),
          )
          if (half < job.bytes.length) frames.push(...packer.add(job, undefined, job.bytes.subarray(half), true))
        }
        for (const frame of frames) assert.ok(frame.bytes.length > WRITE_BYTES - 64 && frame.bytes.length <= WRITE_BYTES)
        const rest = packer.flush()
        if (rest !== undefined) frames.push(rest)
        assert.equal(packer.open, false)

        const got = new Map<number, Buffer[]>()
        const decoder = createPieceAnswerDecoder({
          onHead: ({ id }) => got.set(id, []),
          onData: (id, part) => got.get(id)?.push(Buffer.from(part)),
          onFail: (id) => assert.fail(`request ${id} failed`),
        })
        for (const { bytes } of frames) decoder.push(bytes)
        const spans = frames.flatMap((frame) => frame.spans)
        for (const job of jobs) {
          assert.deepEqual(Buffer.concat(got.get(job.id) ?? []), Buffer.from(job.bytes))
          const own = spans.filter((span) => span.job === job)
          assert.equal(own.length, job.packed)
          assert.deepEqual(
            own.map((span) => span.last),
            own.map((_, i) => i === own.length - 1),
          )
          assert.equal(
            own.reduce((sum, span) => sum + span.pieceBytes, 0),
            job.bytes.length,
          )
        }
      }),
      { numRuns: 50 },
    )
  })

  it('puts the end of a mebibyte in front of the next', () => {
    const packer = new Packer(new FramePool())
    const bytes = new Uint8Array(1 << 20)
    const count = 16
    let frames = 0
    for (let id = 0; id < count; id++) frames += packer.add({ id, packed: 0 }, headOf(id, 0), bytes, true).length
    assert.equal(frames, 4 * count)
  })
})

describe('the memory of frames', () => {
  it('is used again when the peer asks under the same id, and not before', () => {
    const pool = new FramePool()
    const ledger = pool.ledger()
    const buffer = pool.take()
    const frame = pool.fit(buffer, buffer.length)
    ledger.sent(7, frame)
    ledger.arrived(8)
    assert.notEqual(pool.take().buffer, frame.buffer)
    ledger.arrived(7)
    assert.equal(pool.take().buffer, frame.buffer)
  })

  it('of a channel that is over is never used again', () => {
    const pool = new FramePool()
    const ledger = pool.ledger()
    const frames = [pool.take(), pool.take()] as const
    ledger.sent(1, frames[0])
    ledger.forget()
    ledger.sent(2, frames[1])
    ledger.arrived(1)
    ledger.arrived(2)
    assert.ok(!frames.some((frame) => frame.buffer === pool.take().buffer))
  })

  it('that waits for a peer is bounded over all channels, and the bound comes back', () => {
    const pool = new FramePool()
    const first = pool.ledger()
    for (let id = 0; id < 1_000; id++) first.sent(id, pool.take())
    const second = pool.ledger()
    const late = pool.take()
    second.sent(1, late)
    second.arrived(1)
    assert.notEqual(pool.take().buffer, late.buffer)
    first.forget()
    second.sent(1, late)
    second.arrived(1)
    assert.equal(pool.take().buffer, late.buffer)
  })
})
