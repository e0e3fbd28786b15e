/** A peer on a real libp2p host that joins a daemon's mesh, says that it holds a blob, and misbehaves on purpose. */
import type { TestContext } from 'node:test'
import type { Digest } from '../../protocols/digest.ts'
import { createFrameDecoder, encodeFrame } from '../../protocols/frame.ts'
import { createPieceRequestDecoder, encodePieceHead, type PieceHead } from '../../protocols/piece/codec.ts'
import { PIECE_PROTOCOL } from '../../protocols/piece/limits.ts'
import { decodeSwarmMessage, encodeSwarmMessage, type SwarmMessage } from '../../protocols/swarm/codec.ts'
import { MAX_SWARM_MESSAGE_BYTES, SWARM_PROTOCOL } from '../../protocols/swarm/limits.ts'
import { openDiscovery } from '../../src/discovery/mesh.ts'
import type { Channel } from '../../src/net/channel.ts'
import type { Host } from '../../src/net/host.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { openScriptedPeer, type PeerScript } from '../download/scripted-peer.ts'
import type { DaemonProcess } from '../helpers/daemon.ts'
import { until } from '../helpers/until.ts'
import { openTestHost } from '../net/test-host.ts'

/** Faultless in form, false in content. */
export async function joinAsLiar(t: TestContext, daemon: DaemonProcess, script: PeerScript): Promise<Host> {
  const host = await openTestHost({ bootstrap: daemon.addresses })
  const peer = await openScriptedPeer(host, script)
  t.after(() => peer[Symbol.asyncDispose]())
  await announce(t, host, daemon, script.digest)
  return host
}

export interface Misbehaviour {
  readonly digest: Digest
  readonly size: number
  /** What it sends as soon as it is asked what it holds; by default that it holds everything. */
  readonly state?: readonly Uint8Array[]
  /** What it does with a request for a piece of this id; nothing by default. */
  readonly answer?: (id: number, index: number, channel: Channel) => Promise<void>
}

/** Not even the form is right. */
export async function joinAsVandal(t: TestContext, daemon: DaemonProcess, misbehaviour: Misbehaviour): Promise<Host> {
  const { digest, size, answer } = misbehaviour
  const host = await openTestHost({ bootstrap: daemon.addresses })
  t.after(() => host[Symbol.asyncDispose]())
  const complete: SwarmMessage = { type: 'state', digest, holding: 'complete', size, have: undefined, load: 0 }
  const state = misbehaviour.state ?? [encodeFrame(encodeSwarmMessage(complete))]
  const limits = { maxInboundStreams: 4 }
  await host.handle(SWARM_PROTOCOL, limits, async (channel) => {
    const decoder = createFrameDecoder(MAX_SWARM_MESSAGE_BYTES, (bytes) => {
      const message = decodeSwarmMessage(bytes)
      if (message.type === 'want' && message.digest.equals(digest)) channel.write(state).catch(() => {})
    })
    await channel.read((chunk) => decoder.push(chunk))
  })
  await host.handle(PIECE_PROTOCOL, limits, async (channel) => {
    const decoder = createPieceRequestDecoder((request) => {
      if (request.type === 'request') answer?.(request.id, request.index, channel).catch(() => {})
    })
    await channel.read((chunk) => decoder.push(chunk))
  })
  await announce(t, host, daemon, digest)
  return host
}

/** The first part of an answer: so many bytes of a piece follow. */
export function head(id: number, size: number, length: number): Uint8Array {
  const fields: PieceHead = { type: 'head', id, status: 'ok', size, length, load: 0, mediaType: undefined, claim: undefined }
  return encodePieceHead(fields)
}

/** Tells the zone, and waits until the daemon knows this peer as a member of it. */
async function announce(t: TestContext, host: Host, daemon: DaemonProcess, digest: Digest): Promise<void> {
  const discovery = await openDiscovery({
    host,
    label: { region: 'test', zone: 'loopback', rack: undefined },
    roles: [],
    version: '0.0.0',
    load: () => 0,
    heldDigests: async function* () {
      yield digest
    },
    log: SILENT,
  })
  t.after(() => discovery[Symbol.asyncDispose]())
  discovery.announce(digest)
  await until('the daemon knows the peer', async () =>
    (await daemon.peers()).some(({ peerId, connected, zone }) => peerId === host.peerId && connected && zone === 'test/loopback'),
  )
}
