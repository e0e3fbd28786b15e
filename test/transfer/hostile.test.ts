import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Bitfield } from '../../protocols/bitfield.ts'
import { type Digest, digestOf } from '../../protocols/digest.ts'
import { encodePieceData, encodePieceFail, encodePieceHead } from '../../protocols/piece/codec.ts'
import { PIECE_PROTOCOL } from '../../protocols/piece/limits.ts'
import { MIN_PIECE_BYTES } from '../../protocols/pieces.ts'
import type { SwarmMessage } from '../../protocols/swarm/codec.ts'
import { SWARM_PROTOCOL } from '../../protocols/swarm/limits.ts'
import { codeOf } from '../../src/errors.ts'
import type { Channel } from '../../src/net/channel.ts'
import type { Host } from '../../src/net/host.ts'
import { createMemoryNetwork } from '../../src/net/memory.ts'
import { signClaim } from '../../src/transfer/claims.ts'
import { against, complete, digest, frame, type Hostile, head, SIZE, struck } from './misbehaving.ts'
import { NEVER, neighbour, openTestNode } from './rig.ts'

const half = Buffer.alloc(MIN_PIECE_BYTES / 2)

describe('a peer that answers piece requests wrongly is dropped when it', () => {
  it('sends garbage', () => against({ piece: () => [Buffer.from('GET / HTTP/1.1\r\n')] }, (h) => struck(h, h.request())))

  it('sends data before a head', () =>
    against({ piece: (id) => [encodePieceData(id, 10), Buffer.alloc(10)] }, (h) => struck(h, h.request())))

  it('answers a request that was not made', () =>
    against({ piece: (id) => [encodePieceHead({ ...head, id: id + 7 })] }, (h) => struck(h, h.request())))

  it('sends data under an id that is not open', () =>
    against({ piece: (id) => [encodePieceHead({ ...head, id }), encodePieceData(id + 1, 10), Buffer.alloc(10)] }, (h) =>
      struck(h, h.request()),
    ))

  it('fails a request that is not open', () =>
    against({ piece: (id) => [encodePieceFail(id + 1)] }, (h) => struck(h, h.request())))

  it('sends two heads', () =>
    against({ piece: (id) => [encodePieceHead({ ...head, id }), encodePieceHead({ ...head, id })] }, (h) =>
      struck(h, h.request()),
    ))

  it('announces more bytes than were asked for', () =>
    against({ piece: (id) => [encodePieceHead({ ...head, id })] }, (h) => struck(h, h.request(0, { bytes: 1_000 }))))

  it('announces a length that no such piece has', () =>
    against({ piece: (id) => [encodePieceHead({ ...head, id, length: MIN_PIECE_BYTES - 1 })] }, (h) => struck(h, h.request())))

  it('answers for a piece beyond the end of the blob that it tells', () =>
    against({ piece: (id) => [encodePieceHead({ ...head, id })] }, (h) => struck(h, h.request(3))))

  it('sends more than it announced, though the request has what it asked for', () =>
    against(
      {
        piece: (id) => [
          encodePieceHead({ ...head, id }),
          encodePieceData(id, half.length),
          half,
          encodePieceData(id, half.length + 1),
          half,
          Buffer.alloc(1),
        ],
      },
      async (h) => {
        await h.request()
        await neighbour(h.swarm, h.peerId, (n) => n.state === 'failed')
        await struck(h, h.request(), 'PEER_GONE')
      },
    ))

  it('calls a piece too large that is not', () =>
    against({ piece: (id) => [encodePieceHead({ ...head, id, status: 'too-large', size: 10, length: 0 })] }, (h) =>
      struck(h, h.request()),
    ))
})

describe('a peer that sends too little', () => {
  it('fails the request when it ends the stream midway', () =>
    against(
      {
        piece: async (id, channel) => {
          await channel.write([encodePieceHead({ ...head, id }), encodePieceData(id, half.length), half])
          await channel.close()
          return []
        },
      },
      async (h) => {
        await assert.rejects(h.request(), (error) => codeOf(error) === 'PEER_GONE')
        assert.equal(h.swarm.neighbours()[0]?.state, 'failed')
      },
    ))

  it('fails the request, and only it, when it says that it could not go on', () =>
    against(
      {
        piece: (id) => [encodePieceHead({ ...head, id }), encodePieceData(id, half.length), half, encodePieceFail(id)],
      },
      async (h) => {
        await neighbour(h.swarm, h.peerId, (n) => n.state === 'complete')
        await assert.rejects(h.request(), (error) => codeOf(error) === 'PEER_LACKS_PIECE')
        assert.equal(h.swarm.neighbours()[0]?.state, 'complete')
      },
    ))

  it('is let go when it sends nothing for long', () =>
    against({}, (h) => assert.rejects(h.request(), (error) => codeOf(error) === 'PEER_TIMEOUT'), { limits: { silenceMs: 60 } }))

  it('does not hold up a caller who loses patience', () =>
    against({}, async (h) => {
      const stop = new AbortController()
      const reason = new Error('enough')
      const asked = h.request(0, { signal: stop.signal })
      await neighbour(h.swarm, h.peerId, (n) => n.state === 'complete')
      stop.abort(reason)
      await assert.rejects(asked, (error) => error === reason)
      assert.equal(h.swarm.neighbours()[0]?.outstandingBytes, 0)
    }))
})

describe('a peer that says wrong things of what it holds is dropped when it', () => {
  const says = (...frames: Uint8Array[]) => ({ swarm: (message: SwarmMessage) => (message.type === 'want' ? frames : []) })
  const dropped = async (h: Hostile) => {
    await neighbour(h.swarm, h.peerId, (n) => n.state === 'failed')
    await struck(h, h.request(), 'PEER_GONE')
  }

  it('sends garbage', () => against(says(Buffer.from('\0\0\0\x05hello')), dropped))

  it('sends a message over the limit', () => against(says(Buffer.from([0xff, 0xff, 0xff, 0xff])), dropped))

  it('asks questions where answers are due', () => against(says(frame({ type: 'want', digest })), dropped))

  it('sends claims that nobody asked for', () =>
    against(says(frame({ type: 'claims', digest, claims: [], more: false })), dropped))

  it('answers a question for claims with far too many', async () => {
    const network = createMemoryNetwork()
    await using author = network.host()
    const hashes = Array.from({ length: 3 }, () => Buffer.alloc(32))
    const claim = await signClaim(author, { kind: 'import', digest, size: SIZE, first: 0, hashes })
    const flood: SwarmMessage = { type: 'claims', digest, claims: Array.from({ length: 200 }, () => claim), more: true }
    const swarm = (message: SwarmMessage) =>
      message.type === 'want' ? [frame(complete(digest))] : Array.from({ length: 3 }, () => frame(flood))
    await against({ swarm }, async (h) => {
      await neighbour(h.swarm, h.peerId, (n) => n.state === 'complete')
      await struck(h, h.swarm.claims(h.peerId, 0, 3, { signal: NEVER }))
    })
  })

  it('answers a question for claims with long ones about other pieces', async () => {
    const network = createMemoryNetwork()
    await using author = network.host()
    const size = 64 * 1024 * MIN_PIECE_BYTES
    const hashes = Array.from({ length: 1_024 }, () => Buffer.alloc(32))
    const claim = await signClaim(author, { kind: 'import', digest, size, first: 0, hashes })
    const flood: SwarmMessage = { type: 'claims', digest, claims: [claim], more: true }
    const swarm = (message: SwarmMessage) =>
      message.type === 'want' ? [frame(complete(digest))] : Array.from({ length: 5 }, () => frame(flood))
    await against({ swarm }, async (h) => {
      await neighbour(h.swarm, h.peerId, (n) => n.state === 'complete')
      await struck(h, h.swarm.claims(h.peerId, 0, 3, { signal: NEVER }))
    })
  })

  it('has pieces that the blob does not have', () => {
    const have = new Bitfield(3)
    const partial: SwarmMessage = { type: 'state', digest, holding: 'partial', size: SIZE, have, load: 0 }
    return against(says(frame(partial), frame({ type: 'have', digest, indices: [1, 3], load: 0 })), dropped)
  })

  it('is not when it goes on about a blob that we want no more', async () => {
    const other = digestOf(Buffer.from('other'))
    await against(says(frame({ type: 'have', digest: other, indices: [9], load: 9 }), frame(complete(digest))), async (h) => {
      const n = await neighbour(h.swarm, h.peerId, (n) => n.state === 'complete')
      assert.equal(n.have?.count, 3)
    })
  })
})

describe('a peer that asks wrongly', () => {
  const dial = async (run: (host: Host, ref: { id: string; addresses: readonly string[] }, digest: Digest) => Promise<void>) => {
    const network = createMemoryNetwork()
    await using me = await openTestNode(network.host())
    await using host = network.host()
    await run(host, me.ref, me.library.put(Buffer.alloc(10)))
  }
  const endOf = async (channel: Channel) => {
    await assert.rejects(
      channel.read(() => {}),
      (error) => codeOf(error) === 'PEER_GONE',
    )
  }

  it('has its data stream cut for garbage', () =>
    dial(async (host, ref) => {
      const channel = await host.open(ref, PIECE_PROTOCOL, { signal: NEVER })
      await channel.write([Buffer.from('garbage')])
      await endOf(channel)
    }))

  it('has its control stream cut for garbage', () =>
    dial(async (host, ref) => {
      const channel = await host.open(ref, SWARM_PROTOCOL, { signal: NEVER })
      await channel.write([Buffer.alloc(100, 0xfe)])
      await endOf(channel)
    }))

  it('has its control stream cut for answers to questions that we did not put on it', () =>
    dial(async (host, ref, digest) => {
      const channel = await host.open(ref, SWARM_PROTOCOL, { signal: NEVER })
      await channel.write([frame(complete(digest))])
      await endOf(channel)
    }))
})
