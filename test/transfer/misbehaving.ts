import assert from 'node:assert/strict'
import { type Digest, digestOf } from '../../protocols/digest.ts'
import { createFrameDecoder, encodeFrame } from '../../protocols/frame.ts'
import { createPieceRequestDecoder, type PieceHead } from '../../protocols/piece/codec.ts'
import { PIECE_PROTOCOL } from '../../protocols/piece/limits.ts'
import { MIN_PIECE_BYTES } from '../../protocols/pieces.ts'
import { decodeSwarmMessage, encodeSwarmMessage, type SwarmMessage } from '../../protocols/swarm/codec.ts'
import { MAX_SWARM_MESSAGE_BYTES, SWARM_PROTOCOL } from '../../protocols/swarm/limits.ts'
import { codeOf, type ErrorCode } from '../../src/errors.ts'
import type { Channel } from '../../src/net/channel.ts'
import type { Host } from '../../src/net/host.ts'
import { createMemoryNetwork } from '../../src/net/memory.ts'
import type { RequestOptions, Swarm } from '../../src/transfer/transfer.ts'
import { NEVER, neighbour, openTestNode, type TestNodeOptions } from './rig.ts'

export const SIZE = 3 * MIN_PIECE_BYTES
export const digest = digestOf(Buffer.from('whatever'))
export const head: PieceHead = {
  type: 'head',
  id: 0,
  status: 'ok',
  size: SIZE,
  length: MIN_PIECE_BYTES,
  load: 0,
  mediaType: undefined,
  claim: undefined,
}
export interface Hostile {
  readonly swarm: Swarm
  readonly peerId: string
  request(index?: number, options?: Partial<RequestOptions> & { bytes?: number }): Promise<unknown>
}

interface Answers {
  /** What the peer answers to a piece request with this id. */
  readonly piece?: (id: number, channel: Channel) => Uint8Array[] | Promise<Uint8Array[]>
  /** What it answers to a message on the control stream; it says that it holds everything if this is left out. */
  readonly swarm?: (message: SwarmMessage) => Uint8Array[]
}

export const frame = (message: SwarmMessage) => encodeFrame(encodeSwarmMessage(message))
export const complete = (digest: Digest): SwarmMessage => ({
  type: 'state',
  digest,
  holding: 'complete',
  size: SIZE,
  have: undefined,
  load: 0,
})

async function misbehave(host: Host, answers: Answers): Promise<void> {
  const limits = { maxInboundStreams: 4 }
  await host.handle(SWARM_PROTOCOL, limits, async (channel) => {
    const decoder = createFrameDecoder(MAX_SWARM_MESSAGE_BYTES, (bytes) => {
      const message = decodeSwarmMessage(bytes)
      const parts = answers.swarm?.(message) ?? (message.type === 'want' ? [frame(complete(message.digest))] : [])
      channel.write(parts).catch(() => {})
    })
    await channel.read((chunk) => decoder.push(chunk))
  })
  await host.handle(PIECE_PROTOCOL, limits, async (channel) => {
    const decoder = createPieceRequestDecoder(async (request) => {
      if (request.type === 'request') channel.write((await answers.piece?.(request.id, channel)) ?? []).catch(() => {})
    })
    await channel.read((chunk) => decoder.push(chunk))
  })
}

/** One node of ours, and a peer that answers as told. */
export async function against(
  answers: Answers,
  run: (h: Hostile) => Promise<void>,
  options: TestNodeOptions = {},
): Promise<void> {
  const network = createMemoryNetwork()
  await using host = network.host()
  await misbehave(host, answers)
  await using me = await openTestNode(network.host(), options)
  await using swarm = me.transfer.join(digest)
  swarm.add({ id: host.peerId, addresses: host.addresses() })
  await run({
    swarm,
    peerId: host.peerId,
    request: (index = 0, { bytes = MIN_PIECE_BYTES, ...options } = {}) =>
      swarm.request(host.peerId, index, new Uint8Array(bytes), { signal: NEVER, ...options }),
  })
}

/** The request fails with the code, and the peer is dropped and not taken back at once. */
export async function struck(h: Hostile, request: Promise<unknown>, code: ErrorCode = 'MESSAGE_MALFORMED'): Promise<void> {
  await assert.rejects(request, (error) => codeOf(error) === code)
  await neighbour(h.swarm, h.peerId, (n) => n.state === 'failed')
  h.swarm.add({ id: h.peerId, addresses: [] })
  assert.equal(h.swarm.neighbours()[0]?.state, 'failed')
  assert.equal(h.swarm.neighbours()[0]?.outstandingBytes, 0)
}
