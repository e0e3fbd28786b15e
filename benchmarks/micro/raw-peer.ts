/**
 * One end of a bare libp2p stream and nothing else: no disk, no hash, no protocol. `raw-peer.ts send TRANSPORTS BYTES` prints where it
 * listens; `raw-peer.ts receive TRANSPORTS BYTES ADDRESS` receives once for each line on stdin, and prints the seconds.
 * TRANSPORTS: `stock` (libp2p's, with the windows that a fast link needs) or `shoal` (the host's own node).
 */

import type { Libp2p, Stream } from '@libp2p/interface'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { WRITE_BYTES } from '../../src/net/channel.ts'
import { createGater } from '../../src/net/gater.ts'
import { createIdentity } from '../../src/net/identity.ts'
import { createNode } from '../../src/net/libp2p-node.ts'
import { SILENT } from '../../src/telemetry/log.ts'

const PROTOCOL = '/benchmark/raw/1'
const [role, transports, size, address] = process.argv.slice(2) as [string, string, string, string]
const bytes = Number(size)
const listen = role === 'send' ? ['/ip4/127.0.0.1/tcp/0'] : []
const node = transports === 'shoal' ? await shoalNode() : await stockNode()

if (role === 'send') {
  await node.handle(PROTOCOL, send)
  process.stdout.write(`${node.getMultiaddrs()[0]}\n`)
} else {
  await node.dial(multiaddr(address))
  process.stdout.write('ready\n')
  process.stdin.on('data', async () => process.stdout.write(`${await receive()}\n`))
}
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))

async function shoalNode(): Promise<Libp2p> {
  const identity = await createIdentity()
  const options = { identity, listen, announce: [], bootstrap: [], dht: false, gossip: false, datastorePath: undefined }
  const node = await createNode({ ...options, version: 'benchmark', log: SILENT }, createGater(), undefined)
  await node.start()
  return node
}

function stockNode(): Promise<Libp2p> {
  const streamOptions = { maxStreamWindowSize: 4 << 20, maxReadBufferLength: 8 << 20 }
  const muxer = yamux({ streamOptions } as Parameters<typeof yamux>[0])
  return createLibp2p({ addresses: { listen }, transports: [tcp()], connectionEncrypters: [noise()], streamMuxers: [muxer] })
}

async function send(stream: Stream): Promise<void> {
  const payload = new Uint8Array(WRITE_BYTES).fill(1)
  for (let sent = 0; sent < bytes; sent += WRITE_BYTES) {
    const room = stream.send(payload.subarray(0, Math.min(WRITE_BYTES, bytes - sent)))
    if (!room) await new Promise((resolve) => stream.addEventListener('drain', resolve, { once: true }))
  }
  await stream.close()
}

async function receive(): Promise<number> {
  const started = performance.now()
  const stream = await node.dialProtocol(multiaddr(address), PROTOCOL)
  let received = 0
  await new Promise<void>((resolve) => {
    stream.addEventListener('message', (event) => {
      received += event.data.byteLength
      if (received >= bytes) resolve()
    })
  })
  await stream.close()
  return (performance.now() - started) / 1_000
}
