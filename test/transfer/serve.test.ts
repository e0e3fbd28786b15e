import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createFrameDecoder, encodeFrame } from '../../protocols/frame.ts'
import { geometryOf, MIN_PIECE_BYTES, PIECE_SIZES } from '../../protocols/pieces.ts'
import { decodeSwarmMessage, encodeSwarmMessage, type SwarmMessage } from '../../protocols/swarm/codec.ts'
import { MAX_SWARM_MESSAGE_BYTES, SWARM_PROTOCOL } from '../../protocols/swarm/limits.ts'
import type { Host } from '../../src/net/host.ts'
import { createMemoryNetwork } from '../../src/net/memory.ts'
import { loadOf } from '../../src/transfer/load.ts'
import { settled, until } from '../helpers/until.ts'
import { Asking } from './asking.ts'
import { content, joined, NEVER, openTestNode, sha256, type TestNode, type TestNodeOptions } from './rig.ts'

async function serving(
  run: (node: TestNode, network: ReturnType<typeof createMemoryNetwork>) => Promise<void>,
  options: TestNodeOptions = {},
): Promise<void> {
  const network = createMemoryNetwork()
  await using node = await openTestNode(network.host(), options)
  await run(node, network)
  assert.equal(node.library.buffers, 0)
}

/** The largest blob whose pieces are of the smallest size: one more byte, and they are of a mebibyte. */
const SMALL_PIECES_BYTES = PIECE_SIZES[0]?.upTo ?? 0
const LARGE_BYTES = SMALL_PIECES_BYTES + 5 * 1024 * 1024

describe('serving pieces', () => {
  it('answers each request once, in frames of any piece size', () =>
    serving(async (node, network) => {
      const bytes = content(LARGE_BYTES + 5)
      const digest = node.library.put(bytes)
      await using host = network.host()
      const asking = await Asking.open(host, node)
      const last = geometryOf(bytes.length).pieces - 1
      await asking.ask(
        { type: 'request', id: 1, digest, index: 3, maxBytes: 1 << 20 },
        { type: 'request', id: 2, digest, index: last, maxBytes: 1 << 20 },
        { type: 'request', id: 3, digest, index: last + 1, maxBytes: 1 << 20 },
        { type: 'request', id: 4, digest, index: 0, maxBytes: 1000 },
      )
      await until('all are answered', () => asking.done.length === 4)
      assert.equal(sha256(asking.of(1)), sha256(bytes.subarray(3 << 20, 4 << 20)))
      assert.equal(sha256(asking.of(2)), sha256(bytes.subarray(last << 20)))
      assert.equal(asking.heads.get(3)?.status, 'lacks')
      assert.deepEqual([asking.heads.get(4)?.status, asking.heads.get(4)?.size], ['too-large', bytes.length])
      assert.equal(node.transfer.servedBytes, (1 << 20) + 5)
    }))

  it('says busy beyond its queue, and goes on', () =>
    serving(
      async (node, network) => {
        const digest = node.library.put(content(2 * MIN_PIECE_BYTES))
        const gate = Promise.withResolvers<void>()
        node.library.blob(digest).gate = gate.promise
        await using host = network.host()
        const asking = await Asking.open(host, node)
        for (let id = 0; id < 10; id++) await asking.ask({ type: 'request', id, digest, index: 0, maxBytes: MIN_PIECE_BYTES })
        await until('six are refused', () => asking.done.length === 6)
        assert.ok([4, 5, 6, 7, 8, 9].every((id) => asking.heads.get(id)?.status === 'busy'))
        gate.resolve()
        await until('four are served', () => asking.done.length === 10)
        await asking.ask({ type: 'request', id: 4, digest, index: 1, maxBytes: MIN_PIECE_BYTES })
        await until('the next is served', () => asking.of(4).length === MIN_PIECE_BYTES)
      },
      { limits: { queuedRequests: 4 } },
    ))

  it('says busy to who has asked for too much, and not to others because of that one, whatever it says it would take', () =>
    serving(
      async (node, network) => {
        const digest = node.library.put(content(8 * MIN_PIECE_BYTES))
        const gate = Promise.withResolvers<void>()
        node.library.blob(digest).gate = gate.promise
        await using stack = new AsyncDisposableStack()
        const open = async () => Asking.open(stack.use(network.host()), node)
        const [greedy, modest] = [await open(), await open()]
        const request = (id: number) => ({ type: 'request' as const, id, digest, index: id, maxBytes: MIN_PIECE_BYTES })
        const loose = (id: number) => ({ ...request(id), maxBytes: 64 * MIN_PIECE_BYTES })
        await greedy.ask(...[0, 1, 2, 3, 4, 5, 6].map(loose))
        await until('what goes beyond is refused', () => greedy.done.length === 2)
        assert.deepEqual(greedy.done, [5, 6])
        for (const id of greedy.done) assert.equal(greedy.heads.get(id)?.status, 'busy')
        assert.ok(node.transfer.load < 32, `${node.transfer.load}`)
        await modest.ask(request(0), request(1))
        gate.resolve()
        await until('what was taken is served', () => greedy.done.length === 7 && modest.done.length === 2)
        for (const id of [0, 1, 2, 3, 4]) assert.equal(greedy.of(id).length, MIN_PIECE_BYTES)
        for (const id of [0, 1]) assert.equal(modest.of(id).length, MIN_PIECE_BYTES)
        assert.equal(node.transfer.load, 0)
      },
      { limits: { queuedBytes: 4 * MIN_PIECE_BYTES } },
    ))

  it('says busy to who has something waiting while many together have asked for too much, and to nobody after that', () =>
    serving(
      async (node, network) => {
        const digest = node.library.put(content(8 * MIN_PIECE_BYTES))
        const gate = Promise.withResolvers<void>()
        node.library.blob(digest).gate = gate.promise
        await using stack = new AsyncDisposableStack()
        const crowd = await Promise.all(Array.from({ length: 9 }, () => Asking.open(stack.use(network.host()), node)))
        const request = (id: number) => ({ type: 'request' as const, id, digest, index: id, maxBytes: MIN_PIECE_BYTES })
        const loads = new Set<number>()
        for (const one of crowd) {
          await one.ask(request(0))
          await until('it waits', () => !loads.has(node.transfer.load))
          loads.add(node.transfer.load)
        }
        const last = crowd[0] as Asking
        await last.ask(request(1))
        await until('it is refused', () => last.done.length === 1)
        assert.equal(last.heads.get(1)?.status, 'busy')
        gate.resolve()
        await until('what was taken is served', () => crowd.every((one) => one.of(0).length === MIN_PIECE_BYTES))
        await last.ask(request(1), request(2))
        await until('more is served again', () => last.of(1).length + last.of(2).length === 2 * MIN_PIECE_BYTES)
      },
      { limits: { queuedBytes: 8 * MIN_PIECE_BYTES } },
    ))

  it('counts as its load what has left it and has not arrived', () =>
    serving(async (node, network) => {
      const digest = node.library.put(content(MIN_PIECE_BYTES))
      await using host = network.host()
      const asking = await Asking.open(host, node)
      const gate = Promise.withResolvers<void>()
      asking.gate = gate.promise
      await asking.ask({ type: 'request', id: 1, digest, index: 0, maxBytes: MIN_PIECE_BYTES })
      await until('it is asked for', () => node.transfer.load > 0)
      assert.ok((await settled(() => node.transfer.load)) >= loadOf(MIN_PIECE_BYTES / 2))
      gate.resolve()
      await until('it has arrived', () => asking.done.length === 1 && node.transfer.load === 0)
    }))

  it('is fair: who asks for one piece does not wait for all of who asks for sixty-four', () =>
    serving(
      async (node, network) => {
        const popular = node.library.put(content(64 * MIN_PIECE_BYTES))
        const rare = node.library.put(content(10))
        const gate = Promise.withResolvers<void>()
        node.library.blob(popular).gate = gate.promise
        await using greedyHost = network.host()
        await using modestHost = network.host()
        const greedy = await Asking.open(greedyHost, node)
        const modest = await Asking.open(modestHost, node)
        const maxBytes = MIN_PIECE_BYTES
        await greedy.ask(
          ...Array.from({ length: 64 }, (_, id) => ({ type: 'request' as const, id, digest: popular, index: id, maxBytes })),
        )
        await until('the greedy one is being served', () => node.library.reads.length === 1)
        await modest.ask({ type: 'request', id: 1, digest: rare, index: 0, maxBytes })
        await until('the modest one waits', () => node.library.opened === 2)
        gate.resolve()
        await until('both are served', () => modest.done.length === 1 && greedy.done.length === 64)
        const turn = node.library.reads.indexOf(String(rare))
        assert.ok(turn <= 2, `the modest one came after ${turn} pieces of the greedy one`)
      },
      { limits: { slots: 1, staleMs: 60_000 } },
    ))

  it('goes on serving others while peers that take nothing hold every slot, and lets those go in the end', () =>
    serving(
      async (node, network) => {
        const digest = node.library.put(content(16 * MIN_PIECE_BYTES))
        await using stack = new AsyncDisposableStack()
        const stuck: Asking[] = []
        for (let i = 0; i < 3; i++) {
          const asking = await Asking.open(stack.use(network.host()), node)
          asking.gate = new Promise(() => {})
          for (let id = 0; id < 16; id++) await asking.ask({ type: 'request', id, digest, index: id, maxBytes: MIN_PIECE_BYTES })
          stuck.push(asking)
        }
        const moving = await Asking.open(stack.use(network.host()), node)
        await moving.ask({ type: 'request', id: 1, digest, index: 5, maxBytes: MIN_PIECE_BYTES })
        await until('the one that takes is served', () => moving.done.length === 1)
        await until('the others are let go', () => stuck.every((a) => a.channel.closed.aborted))
      },
      { limits: { slots: 2, staleMs: 20, maxSlots: 8, stallMs: 400 } },
    ))

  it('stops at the next frame when a piece is cancelled, and never begins one that was', () =>
    serving(async (node, network) => {
      const digest = node.library.put(content(LARGE_BYTES))
      await using host = network.host()
      const asking = await Asking.open(host, node)
      const gate = Promise.withResolvers<void>()
      asking.gate = gate.promise
      const requests = [1, 2, 3].map((id) => ({ type: 'request' as const, id, digest, index: id, maxBytes: 1 << 20 }))
      await asking.ask(...requests)
      await until('it is being served', () => node.transfer.servedBytes > 0)
      await asking.ask({ type: 'cancel', id: 1 }, { type: 'cancel', id: 3 }, { type: 'cancel', id: 77 })
      gate.resolve()
      await until('the other is served', () => asking.done.length === 1)
      assert.deepEqual(asking.done, [2])
      assert.deepEqual(asking.failed.toSorted(), [1, 3])
      assert.ok(asking.of(1).length < 1 << 20)
      assert.equal(asking.heads.has(3), false)
    }))

  it('says fail, not less, when its disk fails midway; and lacks when it fails at once', () =>
    serving(
      async (node, network) => {
        const digest = node.library.put(content(LARGE_BYTES))
        await using host = network.host()
        const asking = await Asking.open(host, node)
        const gate = Promise.withResolvers<void>()
        asking.gate = gate.promise
        await asking.ask({ type: 'request', id: 1, digest, index: 0, maxBytes: 1 << 20 })
        await until('it is being served', () => node.transfer.servedBytes > 0)
        node.library.blob(digest).broken = true
        await asking.ask({ type: 'request', id: 2, digest, index: 1, maxBytes: 1 << 20 })
        gate.resolve()
        await until('both are answered', () => asking.failed.length === 1 && asking.done.length === 1)
        assert.deepEqual([asking.failed, asking.done], [[1], [2]])
        assert.equal(asking.heads.get(2)?.status, 'lacks')
      },
      { limits: { partBytes: 64 * 1024 } },
    ))

  it('reads nothing more for a peer that went away, and gives everything back', () =>
    serving(async (node, network) => {
      const digest = node.library.put(content(LARGE_BYTES))
      await using host = network.host()
      const asking = await Asking.open(host, node)
      asking.gate = new Promise(() => {})
      await asking.ask(
        ...Array.from({ length: 32 }, (_, id) => ({ type: 'request' as const, id, digest, index: id, maxBytes: 1 << 20 })),
      )
      await until('it is being served', () => node.transfer.servedBytes > 0)
      network.cut(host, node.host)
      await until('its blob is let go', () => node.library.buffers === 0)
      assert.ok(node.transfer.servedBytes < 2 << 20)
    }))

  it('holds a peer back that asks and asks and reads no answers', () =>
    serving(async (node, network) => {
      const digest = node.library.put(content(10))
      await using host = network.host()
      const asking = await Asking.open(host, node)
      asking.gate = new Promise(() => {})
      let asked = 0
      const flood = async () => {
        for (; asked < 1_000_000; asked += 1_000) {
          const requests = Array.from({ length: 1_000 }, (_, i) => ({
            type: 'request' as const,
            id: asked + i,
            digest,
            index: 1,
            maxBytes: 10,
          }))
          await asking.ask(...requests)
        }
      }
      const flooding = flood().catch(() => {})
      await settled(() => asked)
      assert.ok(asked < 100_000, `${asked}`)
      network.cut(host, node.host)
      await flooding
    }))
})

describe('telling peers what is held', () => {
  const frame = (message: SwarmMessage) => encodeFrame(encodeSwarmMessage(message))

  async function listen(host: Host, node: TestNode) {
    const channel = await host.open(node.ref, SWARM_PROTOCOL, { signal: NEVER })
    const heard: SwarmMessage[] = []
    const decoder = createFrameDecoder(MAX_SWARM_MESSAGE_BYTES, (bytes) => heard.push(decodeSwarmMessage(bytes)))
    channel.read((chunk) => decoder.push(chunk)).catch(() => {})
    return { channel, heard }
  }

  it('gathers pieces that come at about the same time into one message', () =>
    serving(async (node, network) => {
      const bytes = content(100 * MIN_PIECE_BYTES)
      const digest = node.library.put(bytes, { pieces: [0] })
      await using host = network.host()
      const { channel, heard } = await listen(host, node)
      await channel.write([frame({ type: 'want', digest })])
      await until('the state is told', () => heard.length === 1)
      await using swarm = node.transfer.join(digest)
      for (let i = 1; i < 100; i++) {
        node.library.addPieces(digest, [i])
        swarm.have([i])
      }
      await until('the pieces are told', () => heard.length === 2)
      const [, have] = heard
      assert.ok(have?.type === 'have' && have.indices.length === 99)
    }))

  it('does not tell a peer of pieces that it has said it holds, unless it lacks one of them', () =>
    serving(async (node, network) => {
      const bytes = content(6 * MIN_PIECE_BYTES)
      const digest = node.library.put(bytes, { pieces: [0] })
      await using holder = await openTestNode(network.host())
      holder.library.put(bytes, { pieces: [1, 2, 3] })
      await using other = network.host()
      await using swarm = await joined(node, digest, [holder])
      const [told, everything] = [await listen(holder.host, node), await listen(other, node)]
      for (const { channel, heard } of [told, everything]) {
        await channel.write([frame({ type: 'want', digest })])
        await until('the state is told', () => heard.length === 1)
      }
      const came = async (...indices: number[]) => {
        const count = everything.heard.length
        node.library.addPieces(digest, indices)
        swarm.have(indices)
        await until('whoever lacks them is told', () => everything.heard.length > count)
      }
      await came(1)
      await came(2, 4)
      await came(3)
      await came(5)
      await until('the holder is told of what it lacks', () => told.heard.length === 3)
      const indices = (heard: readonly SwarmMessage[]) =>
        heard.slice(1).map((message) => message.type === 'have' && message.indices)
      assert.deepEqual(indices(told.heard), [[2, 4], [5]])
      assert.deepEqual(indices(everything.heard), [[1], [2, 4], [3], [5]])
    }))

  it('tells nothing after unwant', () =>
    serving(async (node, network) => {
      const bytes = content(3 * MIN_PIECE_BYTES)
      const digest = node.library.put(bytes, { pieces: [0] })
      const other = node.library.put(content(10))
      await using host = network.host()
      const { channel, heard } = await listen(host, node)
      await channel.write([frame({ type: 'want', digest }), frame({ type: 'unwant', digest })])
      await until('the state is told', () => heard.length === 1)
      await using swarm = node.transfer.join(digest)
      swarm.have([1])
      await channel.write([frame({ type: 'want', digest: other })])
      await until('the other is told', () => heard.length === 2)
      assert.equal(heard[1]?.type, 'state')
    }))

  it('answers wants beyond the bound, and does not remember them', () =>
    serving(
      async (node, network) => {
        const digests = Array.from({ length: 5 }, () => node.library.put(content(10)))
        await using host = network.host()
        const { channel, heard } = await listen(host, node)
        await channel.write(digests.map((digest) => frame({ type: 'want', digest })))
        await until('all are answered', () => heard.length === 5)
        for (const digest of digests) {
          node.library.delete(digest)
          node.transfer.refresh(digest)
        }
        await until('those remembered are told', () => heard.length === 8)
        assert.ok(heard.slice(5).every((m) => m.type === 'state' && m.holding === 'none'))
      },
      { limits: { wantsPerPeer: 3 } },
    ))
})
