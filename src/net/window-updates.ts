import type { MultiaddrConnection, StreamMuxer, StreamMuxerFactory } from '@libp2p/interface'

/** What a yamux stream has besides. */
interface YamuxStream {
  readonly state: number
  readonly recvWindow: number
  readonly recvWindowCapacity: number
  sendWindowUpdate(): void
}

interface YamuxMuxer {
  _newStream?: (...args: unknown[]) => YamuxStream
}

/** `StreamState.Established`: nothing but the window is left to tell. */
const ESTABLISHED = 3

/**
 * yamux whose streams give back window when half of it is used, as other implementations do. js-yamux sends an update for
 * each data frame: a frame, a cipher and a packet of its own against 64 KiB of content.
 */
export function fewWindowUpdates<C>(factory: (components: C) => StreamMuxerFactory): (components: C) => StreamMuxerFactory {
  return (components) => {
    const yamux = factory(components)
    return {
      protocol: yamux.protocol,
      createStreamMuxer: (connection: MultiaddrConnection): StreamMuxer => thrifty(yamux.createStreamMuxer(connection)),
    }
  }
}

function thrifty(muxer: StreamMuxer): StreamMuxer {
  const { _newStream: newStream } = muxer as unknown as YamuxMuxer
  if (newStream === undefined) return muxer
  ;(muxer as unknown as YamuxMuxer)._newStream = (...args) => {
    const stream = newStream.apply(muxer as unknown as YamuxMuxer, args)
    const { sendWindowUpdate } = stream
    stream.sendWindowUpdate = () => {
      if (stream.state === ESTABLISHED && stream.recvWindowCapacity > stream.recvWindow / 2) return
      sendWindowUpdate.call(stream)
    }
    return stream
  }
  return muxer
}
