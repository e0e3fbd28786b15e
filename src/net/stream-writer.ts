import type { Stream } from '@libp2p/interface'
import { Uint8ArrayList } from 'uint8arraylist'
import { WRITE_BYTES } from './channel.ts'
import { peerGone } from './peer-errors.ts'

/**
 * Writes to one libp2p stream, in order, at most one slice ahead of what the stream has taken.
 * `stream.onDrain()` works once per stream, so room is learnt from the `drain` event; and that event says that the
 * stream may try again, not that it succeeded, so its buffer is looked at again afterwards.
 */
export class StreamWriter {
  readonly #stream: Stream
  readonly #peerId: string
  #last: Promise<void> = Promise.resolve()
  #waiting = 0
  #closing: Promise<void> | undefined

  constructor(stream: Stream, peerId: string) {
    this.#stream = stream
    this.#peerId = peerId
  }

  write(parts: readonly Uint8Array[]): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(peerGone(this.#peerId, new Error('this end has closed')))
    if (this.#waiting === 0) return this.#enter(this.#send(parts))
    return this.#enter(this.#last.then(() => this.#send(parts)))
  }

  /** Never rejects: a peer that is gone has nothing to be flushed to. */
  close(): Promise<void> {
    this.#closing ??= this.#last
      .catch(() => {})
      .then(() => this.#stream.close())
      .catch(() => {})
    return this.#closing
  }

  #enter(turn: Promise<void>): Promise<void> {
    this.#waiting++
    this.#last = turn.catch(() => {}).finally(() => this.#waiting--)
    return turn
  }

  async #send(parts: readonly Uint8Array[]): Promise<void> {
    for (const slice of slices(parts)) {
      try {
        this.#stream.send(slice)
      } catch (cause) {
        throw peerGone(this.#peerId, cause)
      }
      if (!this.#hasRoom()) await this.#room()
    }
  }

  #hasRoom(): boolean {
    return !this.#stream.writableNeedsDrain && this.#stream.writeBufferLength === 0
  }

  #room(): Promise<void> {
    const stream = this.#stream
    return new Promise((resolve, reject) => {
      const end = (error?: unknown) => {
        stream.removeEventListener('drain', onDrain)
        stream.removeEventListener('close', onClose)
        if (error === undefined) resolve()
        else reject(error)
      }
      const onDrain = () => queueMicrotask(() => this.#hasRoom() && end())
      const onClose = () => end(peerGone(this.#peerId))
      stream.addEventListener('drain', onDrain)
      stream.addEventListener('close', onClose)
      if (stream.writeStatus === 'closed') onClose()
    })
  }
}

/** The parts as lists of at most WRITE_BYTES: one `send` becomes one frame, which is encrypted in one go. */
function* slices(parts: readonly Uint8Array[]): Generator<Uint8ArrayList> {
  let list = new Uint8ArrayList()
  for (const part of parts) {
    for (let start = 0; start < part.byteLength; ) {
      const end = Math.min(part.byteLength, start + WRITE_BYTES - list.byteLength)
      list.append(part.subarray(start, end))
      start = end
      if (list.byteLength < WRITE_BYTES) continue
      yield list
      list = new Uint8ArrayList()
    }
  }
  if (list.byteLength > 0) yield list
}
