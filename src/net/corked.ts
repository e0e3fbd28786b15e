import { Socket } from 'node:net'
import type { ConnectionEncrypter, MessageStream } from '@libp2p/interface'

/**
 * A connection encrypter whose connections gather what is written to a socket in one turn of the event loop into one system call.
 * Otherwise a Noise frame is three writes (length, text, tag) and, with Nagle's algorithm off, as many packets; and each yamux
 * window update is a frame of its own.
 */
export function corked<C>(factory: (components: C) => ConnectionEncrypter): (components: C) => ConnectionEncrypter {
  return (components) => {
    const encrypter = factory(components)
    return {
      protocol: encrypter.protocol,
      secureInbound: (connection, options) => encrypter.secureInbound(cork(connection), options),
      secureOutbound: (connection, options) => encrypter.secureOutbound(cork(connection), options),
    }
  }
}

/** What @libp2p/tcp's connections have besides. */
interface SocketConnection {
  readonly socket?: unknown
  sendData?: (data: unknown) => { sentBytes: number; canSendMore: boolean }
}

/** Whatever is no TCP socket stays as it is. */
function cork(connection: MessageStream): MessageStream {
  const { socket, sendData } = connection as unknown as SocketConnection
  if (!(socket instanceof Socket) || sendData === undefined) return connection
  let gathering = false
  ;(connection as unknown as SocketConnection).sendData = (data) => {
    if (!gathering) {
      gathering = true
      socket.cork()
      setImmediate(() => {
        gathering = false
        socket.uncork()
      })
    }
    return sendData.call(connection, data)
  }
  return connection
}
