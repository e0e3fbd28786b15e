/** One end of a bare libp2p stream with shoal's transports and nothing else: no disk, no hash, no protocol. `raw-peer.ts send` prints where it listens. */

import type { Stream } from '@libp2p/interface'
import { noise } from '@libp2p/noise'
import { tcp } from '@libp2p/tcp'
import { yamux } from '@libp2p/yamux'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'

const PROTOCOL = '/benchmark/raw/1'
/** Four Noise frames less the yamux header: what shoal's own data frames fill. */
const WRITE_BYTES = 262_064
const [role, argument, size] = process.argv.slice(2) as [string, string, string]

const node = await createLibp2p({
  addresses: { listen: role === 'send' ? ['/ip4/127.0.0.1/tcp/0'] : [] },
  transports: [tcp()],
  connectionEncrypters: [noise()],
  streamMuxers: [
    yamux({ streamOptions: { maxStreamWindowSize: 4 << 20, maxReadBufferLength: 8 << 20 } } as Parameters<typeof yamux>[0]),
  ],
})

if (role === 'send') {
  const payload = new Uint8Array(WRITE_BYTES).fill(1)
  await node.handle(PROTOCOL, async (stream: Stream) => {
    for (let sent = 0; sent < Number(argument); ) {
      const bytes = payload.subarray(0, Math.min(WRITE_BYTES, Number(argument) - sent))
      sent += bytes.length
      if (!stream.send(bytes)) await new Promise((resolve) => stream.addEventListener('drain', resolve, { once: true }))
    }
    await stream.close()
  })
  process.stdout.write(`${node.getMultiaddrs()[0]}\n`)
} else {
  const stream = await node.dialProtocol(multiaddr(argument), PROTOCOL)
  const started = performance.now()
  let received = 0
  await new Promise<void>((resolve) => {
    stream.addEventListener('message', (event) => {
      received += event.data.byteLength
      if (received >= Number(size)) resolve()
    })
  })
  process.stdout.write(`${JSON.stringify({ seconds: (performance.now() - started) / 1000, received })}\n`)
}
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
