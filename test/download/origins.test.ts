import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ShoalError } from '../../src/errors.ts'
import { content, createWorld, flipped, PIECE, withCode } from './rig.ts'
import { BLOB_SOURCE, type OriginScript } from './scripted-origin.ts'

const origin = BLOB_SOURCE

describe('an origin that', () => {
  const works: Record<string, Omit<OriginScript, 'bytes'>> = {
    'cuts every 300,000 bytes': { cutAfterBytes: 300_000 },
    'has no ranges': { ranges: false },
    'does not say how large the blob is': { size: undefined },
    'does not say how large the blob is, and has no ranges': { size: undefined, ranges: false },
    'fails now and then': {
      refuse: (nth) => (nth === 1 ? new ShoalError('ORIGIN_FAILED', '503') : undefined),
      cutAfterBytes: 600_000,
    },
    'fails at first': { refuse: (nth) => (nth < 2 ? new ShoalError('ORIGIN_FAILED', '503') : undefined) },
    'limits its rate for a moment': {
      cutAfterBytes: 600_000,
      refuse: (nth) => (nth === 1 ? new ShoalError('ORIGIN_RATE_LIMITED', '429', { detail: { retryAfterMs: 50 } }) : undefined),
    },
  }
  for (const [name, script] of Object.entries(works)) {
    it(`${name} is pulled from all the same`, async (t) => {
      const { bytes, digest } = content(4 * PIECE + 100)
      const node = await createWorld(t).node({ origin: { bytes, ...script } })
      assert.ok((await node.read(digest, { origin })).equals(bytes))
      assert.equal((await node.store.open(digest))?.complete, true)
      assert.equal(node.origin.openBodies, 0)
    })
  }

  it('cuts is asked to go on where it was, and nothing comes twice but the piece that was cut', async (t) => {
    const { bytes, digest } = content(8 * PIECE)
    const node = await createWorld(t).node({ origin: { bytes, cutAfterBytes: 3 * PIECE + 10 } })
    assert.ok((await node.read(digest, { origin })).equals(bytes))
    assert.deepEqual(
      node.origin.opens.map(({ start }) => start),
      [0, 3 * PIECE, 6 * PIECE],
    )
  })

  it('cuts before a single piece is through, again and again, is given up with its own error', async (t) => {
    const { bytes, digest } = content(2 * PIECE)
    const node = await createWorld(t).node({ origin: { bytes, cutAfterBytes: 1000 } })
    await assert.rejects(node.read(digest, { origin }), withCode('ORIGIN_UNREACHABLE'))
    assert.ok(node.origin.opens.length <= 10)
    assert.equal(node.origin.openBodies, 0)
  })

  it('has other bytes ends the pull with DIGEST_MISMATCH, and nothing is kept', async (t) => {
    const { bytes, digest } = content(4 * PIECE)
    const node = await createWorld(t).node({ origin: { bytes: flipped(bytes, 3) } })
    let shown = 0
    await assert.rejects(node.read(digest, { origin, onChunk: (chunk) => (shown += chunk.length) }), withCode('DIGEST_MISMATCH'))
    assert.ok(shown < bytes.length)
    assert.equal(await node.store.open(digest), undefined)
  })

  it('has other bytes for a blob of one piece shows none of them', async (t) => {
    const { bytes, digest } = content(1000)
    const node = await createWorld(t).node({ origin: { bytes: flipped(bytes, 0) } })
    let shown = 0
    await assert.rejects(node.read(digest, { origin, onChunk: (chunk) => (shown += chunk.length) }), withCode('DIGEST_MISMATCH'))
    assert.equal(shown, 0)
    assert.equal(node.counts.failed.origin, 1)
  })

  it('has other bytes and does not say how many ends with DIGEST_MISMATCH too', async (t) => {
    const { bytes, digest } = content(2 * PIECE)
    const node = await createWorld(t).node({ origin: { bytes: flipped(bytes, 1), size: undefined } })
    await assert.rejects(node.read(digest, { origin }), withCode('DIGEST_MISMATCH'))
    assert.equal(await node.store.open(digest), undefined)
  })

  it('says more bytes than it has ends the pull with an error of its own', async (t) => {
    const { bytes, digest } = content(2 * PIECE)
    const node = await createWorld(t).node({ origin: { bytes, size: bytes.length + 10 } })
    await assert.rejects(node.read(digest, { origin }), withCode('ORIGIN_PROTOCOL'))
    assert.equal(node.origin.openBodies, 0)
  })

  it('says fewer bytes than the blob has ends the pull: the digest does not match', async (t) => {
    const { bytes, digest } = content(3 * PIECE)
    const node = await createWorld(t).node({ origin: { bytes, size: bytes.length - 10 } })
    await assert.rejects(node.read(digest, { origin }), withCode('DIGEST_MISMATCH'))
    assert.equal(await node.store.open(digest), undefined)
  })

  it('lied once is pulled from when it has come to its senses', async (t) => {
    const { bytes, digest } = content(3 * PIECE)
    const node = await createWorld(t).node({ origin: { bytes: bytes.subarray(10) } })
    await assert.rejects(node.read(digest, { origin }), withCode('DIGEST_MISMATCH'))
    node.origin.script = { bytes }
    assert.ok((await node.read(digest, { origin })).equals(bytes))
  })

  const refusals = ['ORIGIN_UNAUTHORIZED', 'ORIGIN_FORBIDDEN', 'ORIGIN_NOT_FOUND', 'ORIGIN_REDIRECT'] as const
  for (const code of refusals) {
    it(`answers ${code} is asked once, and its answer is passed on`, async (t) => {
      const { bytes, digest } = content(10)
      const node = await createWorld(t).node({ origin: { bytes, refuse: () => new ShoalError(code, 'no') } })
      await assert.rejects(node.read(digest, { origin }), withCode(code))
      assert.equal(node.origin.opens.length, 1)
    })

    it(`answers ${code} in the middle ends the pull with that`, async (t) => {
      const { bytes, digest } = content(4 * PIECE)
      const refuse = (nth: number) => (nth > 0 ? new ShoalError(code, 'no') : undefined)
      const node = await createWorld(t).node({ origin: { bytes, cutAfterBytes: PIECE + 1, refuse } })
      await assert.rejects(node.read(digest, { origin }), withCode(code))
      assert.equal(node.origin.openBodies, 0)
    })
  }

  it('limits its rate for long is not waited for', async (t) => {
    const { bytes, digest } = content(10)
    const refuse = () => new ShoalError('ORIGIN_RATE_LIMITED', '429', { detail: { retryAfterMs: 3_600_000 } })
    const node = await createWorld(t).node({ origin: { bytes, refuse } })
    await assert.rejects(node.read(digest, { origin }), withCode('ORIGIN_RATE_LIMITED'))
  })

  it('fails is no harm where another one is named too', async (t) => {
    const { bytes, digest } = content(3 * PIECE)
    const node = await createWorld(t).node({
      origin: { bytes, refuse: (nth) => (nth === 0 ? new ShoalError('ORIGIN_NOT_FOUND', 'not here') : undefined) },
    })
    const other = { ...BLOB_SOURCE, repository: 'team/mirror' } as typeof BLOB_SOURCE
    const [first, second] = await Promise.all([node.read(digest, { origin }), node.read(digest, { origin: other })])
    assert.ok(first.equals(bytes) && second.equals(bytes))
  })
})
