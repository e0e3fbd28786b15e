import type { MultiaddrConnection, Stream, StreamMuxer, StreamMuxerFactory } from '@libp2p/interface'

/** What a yamux stream has besides. */
interface YamuxStream {
  readonly state: number
  readonly sendWindowCapacity: number
  readonly recvWindow: number
  readonly recvWindowCapacity: number
  sendWindowUpdate(): void
}

interface YamuxMuxer {
  _newStream?: (...args: unknown[]) => YamuxStream
}

/** What a stream's flow control tells of it. */
export interface Window {
  /** Bytes sent and not given back. */
  readonly usedBytes: number
  /** Gives back at once what has been taken in. */
  giveBack(): void
}

const GIVE_BACK = Symbol('give back')

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
    const giveBack = () => {
      if (stream.state === ESTABLISHED && stream.recvWindowCapacity < stream.recvWindow) sendWindowUpdate.call(stream)
    }
    Object.assign(stream, { [GIVE_BACK]: giveBack })
    return stream
  }
  return muxer
}

/** A stream without windows tells nothing. */
export function windowOf(stream: Stream): Window {
  const yamux = stream as Stream & Partial<YamuxStream> & { [GIVE_BACK]?: () => void }
  let wholeBytes = yamux.sendWindowCapacity ?? 0
  return {
    get usedBytes() {
      const left = yamux.sendWindowCapacity ?? 0
      wholeBytes = Math.max(wholeBytes, left)
      return wholeBytes - left
    },
    giveBack: () => yamux[GIVE_BACK]?.(),
  }
}
