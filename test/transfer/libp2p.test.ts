import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { geometryOf, MIN_PIECE_BYTES, PIECE_SIZES } from '../../protocols/pieces.ts'
import { codeOf } from '../../src/errors.ts'
import { until } from '../helpers/until.ts'
import { openTestHost } from '../net/test-host.ts'
import { content, fetchAll, joined, NEVER, neighbour, openTestNode, sha256 } from './rig.ts'

const open = async (stack: AsyncDisposableStack) =>
  stack.use(await openTestNode(await openTestHost({ dht: false, gossip: false })))

describe('transfer on real hosts', () => {
  it('brings a blob of many pieces from two peers', async () => {
    await using stack = new AsyncDisposableStack()
    const [a, b, me] = [await open(stack), await open(stack), await open(stack)]
    const bytes = content(80 * 1024 * 1024 + 3)
    const digest = a.library.put(bytes)
    b.library.put(bytes)
    await using swarm = await joined(me, digest, [a, b])
    assert.equal(sha256(await fetchAll(swarm, bytes.length)), sha256(bytes))
    assert.ok(a.transfer.servedBytes > 0 && b.transfer.servedBytes > 0)
    assert.equal(a.library.buffers + b.library.buffers, 0)
  })

  it('brings pieces of a mebibyte, several frames each', async () => {
    await using stack = new AsyncDisposableStack()
    const [giver, me] = [await open(stack), await open(stack)]
    const bytes = content((PIECE_SIZES[0]?.upTo ?? 0) + 3)
    const { pieceBytes, pieces } = geometryOf(bytes.length)
    const digest = giver.library.put(bytes)
    await using swarm = await joined(me, digest, [giver])
    const whole = [0, 1, 100].map(async (index) => {
      const into = new Uint8Array(pieceBytes)
      await swarm.request(giver.ref.id, index, into, { signal: NEVER })
      assert.equal(sha256(into), sha256(bytes.subarray(index * pieceBytes, (index + 1) * pieceBytes)))
    })
    await Promise.all(whole)
    const last = new Uint8Array(3)
    assert.equal((await swarm.request(giver.ref.id, pieces - 1, last, { signal: NEVER })).length, 3)
    assert.deepEqual(last, Uint8Array.from(bytes.subarray(-3)))
    assert.equal(giver.library.buffers, 0)
  })

  it('notices a peer that dies midway, and fails what it owed', async () => {
    await using stack = new AsyncDisposableStack()
    const [giver, me] = [await open(stack), await open(stack)]
    const bytes = content(8 * MIN_PIECE_BYTES)
    const digest = giver.library.put(bytes)
    await using swarm = await joined(me, digest, [giver])
    await swarm.request(giver.ref.id, 0, new Uint8Array(MIN_PIECE_BYTES), { signal: NEVER })
    giver.library.blob(digest).gate = new Promise(() => {})
    const asked = swarm.request(giver.ref.id, 1, new Uint8Array(MIN_PIECE_BYTES), { signal: NEVER })
    const failed = assert.rejects(asked, (error) => codeOf(error) === 'PEER_GONE')
    await until('it was asked', () => giver.library.reads.length === 2)
    await giver.host[Symbol.asyncDispose]()
    await failed
    await neighbour(swarm, giver.ref.id, (n) => n.state === 'failed')
  })
})
