import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { MIN_PIECE_BYTES } from '../../protocols/pieces.ts'
import { createMemoryNetwork } from '../../src/net/memory.ts'
import { RateLimit } from '../../src/rate-limit.ts'
import { DEFAULT_LIMITS, limitsUnder } from '../../src/transfer/limits.ts'
import { VirtualClock } from '../discovery/virtual-clock.ts'
import { settled, until } from '../helpers/until.ts'
import { Asking } from './asking.ts'
import { content, openTestNode, type TestNode } from './rig.ts'

const PIECE = MIN_PIECE_BYTES
const RATE = 4 * PIECE
const PIECES = 40

interface Limited {
  readonly node: TestNode
  readonly clock: VirtualClock
  readonly limit: RateLimit
  readonly asking: readonly Asking[]
  /** Asks for one piece. */
  ask(asker: number, id: number): Promise<void>
  received(): number[]
}

/** A node that may upload four pieces a second, a quarter of a second's worth at once, and some that ask it. */
async function limited(askers: number, run: (rig: Limited) => Promise<void>): Promise<void> {
  const network = createMemoryNetwork()
  const clock = new VirtualClock()
  const limit = new RateLimit({ bytesPerSecond: RATE, burstBytes: PIECE, clock })
  await using stack = new AsyncDisposableStack()
  const node = stack.use(await openTestNode(network.host(), { uploadLimit: limit }))
  const digest = node.library.put(content(PIECES * PIECE))
  const asking = await Promise.all(Array.from({ length: askers }, () => Asking.open(stack.use(network.host()), node)))
  await run({
    node,
    clock,
    limit,
    asking,
    ask: (asker, id) => (asking[asker] as Asking).ask({ type: 'request', id, digest, index: id % PIECES, maxBytes: PIECE }),
    received: () => asking.map((one) => [...one.bytes.values()].flat().reduce((sum, bytes) => sum + bytes.length, 0)),
  })
  for (const { channel } of asking) channel.abort(new Error('enough'))
  await until('nothing is held or waited for', () => node.library.buffers === 0 && limit.waiting === 0)
}

const sum = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b)

describe('a node whose upload is limited', () => {
  it('sends all peers together what the limit lets out, and each about the same', () =>
    limited(4, async ({ ask, clock, received }) => {
      for (let id = 0; id < 10; id++) await Promise.all([0, 1, 2, 3].map((asker) => ask(asker, id)))
      const start = await settled(() => sum(received()), 50)
      assert.ok(start >= PIECE * 0.75 && start <= PIECE, `${start / PIECE} pieces at once`)
      for (let second = 1; second <= 4; second++) {
        await clock.advance(1_000)
        const total = await settled(() => sum(received()), 50)
        assert.ok(total >= second * RATE && total <= second * RATE + PIECE, `${total / PIECE} pieces after ${second} s`)
      }
      const each = received()
      assert.ok(Math.max(...each) - Math.min(...each) <= 2 * (RATE / 16), `${each}`)
    }))

  it('answers at once what has no bytes, and sends what is small as soon as it is its turn', () =>
    limited(2, async ({ node, ask, asking, clock }) => {
      const small = node.library.put(content(100))
      for (let id = 0; id < 10; id++) await ask(0, id)
      await settled(() => node.transfer.servedBytes, 50)
      const [, other] = asking as [Asking, Asking]
      await other.ask({ type: 'request', id: 1, digest: small, index: 1, maxBytes: PIECE })
      await until('what is not held is said at once', () => other.heads.get(1)?.status === 'lacks')
      await other.ask({ type: 'request', id: 2, digest: small, index: 0, maxBytes: PIECE })
      await clock.advance(130)
      await until('the small piece is there', () => other.done.includes(2))
    }))

  it('holds no memory for those who wait, so one may wait without keeping the next from its turn', () =>
    limited(20, async ({ node, ask, asking, clock, limit }) => {
      await Promise.all(asking.map((_, asker) => ask(asker, 0)))
      await until('the others wait', () => limit.waiting >= 15)
      assert.equal(node.library.buffers, 0)
      await clock.advance(5_000)
      await until('all have their piece', () => asking.every(({ done }) => done.length === 1))
    }))

  it('lets others have what was to go to a peer that called it off or went away', () =>
    limited(3, async ({ ask, asking, clock, limit }) => {
      const [leaver, canceller, third] = asking as [Asking, Asking, Asking]
      for (let id = 0; id < 4; id++) {
        await ask(0, id)
        await ask(1, id)
      }
      await until('both wait', () => limit.waiting === 2)
      leaver.channel.abort(new Error('gone'))
      for (let id = 0; id < 4; id++) await canceller.ask({ type: 'cancel', id })
      await ask(2, 0)
      await until('what was called off is said so', async () => {
        await clock.advance(50)
        return canceller.failed.length + canceller.done.length === 4
      })
      await clock.advance(1_000)
      await until('the third has its piece', () => third.done.length === 1)
      assert.equal(limit.waiting, 0)
    }))
})

describe('the parts in which pieces are read', () => {
  it('are as large as they may be without a limit, and as short as fairness wants with one', () => {
    assert.equal(limitsUnder(undefined, DEFAULT_LIMITS), DEFAULT_LIMITS)
    assert.equal(limitsUnder(1e9, DEFAULT_LIMITS).partBytes, DEFAULT_LIMITS.partBytes)
    assert.equal(limitsUnder(1_600_000, DEFAULT_LIMITS).partBytes, 100_000)
    assert.equal(limitsUnder(10_000, DEFAULT_LIMITS).partBytes, 16_384)
  })
})
