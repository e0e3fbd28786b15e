import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { PIECE_PROTOCOL } from '../../protocols/piece/limits.ts'
import { MIN_PIECE_BYTES } from '../../protocols/pieces.ts'
import type { Channel } from '../../src/net/channel.ts'
import type { Host } from '../../src/net/host.ts'
import { createMemoryNetwork } from '../../src/net/memory.ts'
import { until } from '../helpers/until.ts'
import { content, joined, NEVER, neighbour, openTestNode } from './rig.ts'

/** A host that notes the channels that it opens. */
function watched(host: Host): { host: Host; channels: Channel[] } {
  const channels: Channel[] = []
  const open: Host['open'] = async (...args) => {
    const channel = await host.open(...args)
    channels.push(channel)
    return channel
  }
  const get = (target: Host, key: string | symbol) => {
    if (key === 'open') return open
    const value = Reflect.get(target, key, target)
    return typeof value === 'function' ? value.bind(target) : value
  }
  return { host: new Proxy(host, { get }), channels }
}

async function twoNodes(
  run: (nodes: { giver: Node; me: Node; channels: Channel[]; cut: () => void }) => Promise<void>,
  idleMs = 60_000,
) {
  const network = createMemoryNetwork()
  const { host, channels } = watched(network.host())
  await using giver = await openTestNode(network.host())
  await using me = await openTestNode(host, { limits: { idleMs } })
  await run({ giver, me, channels, cut: () => network.cut(giver.host, me.host) })
}

type Node = Awaited<ReturnType<typeof openTestNode>>

describe('a link', () => {
  it('is one control and one data stream, however many blobs and requests there are', () =>
    twoNodes(async ({ giver, me, channels }) => {
      const digests = Array.from({ length: 20 }, () => giver.library.put(content(100)))
      await Promise.all(
        digests.map(async (digest) => {
          await using swarm = me.transfer.join(digest)
          swarm.add(giver.ref)
          const asked = [0, 1].map(() => swarm.request(giver.ref.id, 0, new Uint8Array(MIN_PIECE_BYTES), { signal: NEVER }))
          await Promise.all(asked)
        }),
      )
      assert.equal(channels.length, 2)
    }))

  it('closes streams that are idle, and opens them again when needed', () =>
    twoNodes(async ({ giver, me, channels }) => {
      const digest = giver.library.put(content(100))
      const fetch = async () => {
        await using swarm = await joined(me, digest, [giver])
        await swarm.request(giver.ref.id, 0, new Uint8Array(MIN_PIECE_BYTES), { signal: NEVER })
      }
      await fetch()
      await until('both are closed', () => channels.every((c) => c.closed.aborted))
      await fetch()
      assert.equal(channels.length, 4)
    }, 60))

  it('keeps the control stream for as long as a swarm is joined', () =>
    twoNodes(async ({ giver, me, channels }) => {
      const digest = giver.library.put(content(100))
      await using swarm = await joined(me, digest, [giver])
      await swarm.request(giver.ref.id, 0, new Uint8Array(MIN_PIECE_BYTES), { signal: NEVER })
      const data = channels.find((c) => c.protocol === PIECE_PROTOCOL)
      await until('the data stream is closed', () => data?.closed.aborted === true)
      assert.equal(channels.filter((c) => !c.closed.aborted).length, 1)
      giver.library.delete(digest)
      giver.transfer.refresh(digest)
      await neighbour(swarm, giver.ref.id, (n) => n.state === 'none')
    }, 60))

  it('opens streams anew after the connection was lost while nothing was at stake', () =>
    twoNodes(async ({ giver, me, channels, cut }) => {
      const digest = giver.library.put(content(100))
      for (let i = 1; i <= 3; i++) {
        await using swarm = await joined(me, digest, [giver])
        await swarm.request(giver.ref.id, 0, new Uint8Array(MIN_PIECE_BYTES), { signal: NEVER })
        assert.equal(channels.length, 2 * i)
        await swarm[Symbol.asyncDispose]()
        cut()
        await new Promise(setImmediate)
      }
    }))
})
