import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import type { Host, PeerRef } from '../../src/net/host.ts'

export interface TcpProxy {
  /** The host behind it, to be dialled through it. */
  readonly peer: PeerRef
  /** Passes nothing on any more, as a host that hangs: what is sent stays in the sender's kernel and memory. */
  stall(): void
  /** Ends every connection as a process that exits does: FIN, no reset. */
  end(): void
}

/** A cable to a host on loopback that a test may pinch or cut. */
export async function openTcpProxy(t: TestContext, host: Host): Promise<TcpProxy> {
  const port = Number(host.addresses()[0]?.split('/')[4])
  const sockets: Socket[] = []
  const server = createServer((inside) => {
    const outside = connect(port, '127.0.0.1')
    sockets.push(inside, outside)
    for (const socket of [inside, outside]) socket.on('error', () => {})
    inside.pipe(outside)
    outside.pipe(inside)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return {
    peer: { id: host.peerId, addresses: [`/ip4/127.0.0.1/tcp/${(server.address() as AddressInfo).port}`] },
    stall: () => {
      for (const socket of sockets) socket.unpipe().pause()
    },
    end: () => {
      for (const socket of sockets) socket.unpipe().end()
    },
  }
}
