import type { Stream, StreamCloseEvent, StreamMessageEvent } from '@libp2p/interface'
import type { Channel } from './channel.ts'
import { ChunkQueue } from './chunk-queue.ts'
import { peerGone } from './peer-errors.ts'
import { StreamWriter } from './stream-writer.ts'
import { type Window, windowOf } from './window-updates.ts'

/** Bytes held here for a sink that is busy before the stream is paused; the sender's window comes on top. */
const PAUSE_BYTES = 256 << 10

/**
 * A libp2p stream as a Channel. The traps it stands between (each has a test in test/net/libp2p-channel.test.ts):
 * - `for await` over a stream buffers without bound, so chunks come by the `message` event;
 * - yamux grants new window as data arrives unless the stream is paused, so an unread stream is paused from the start;
 * - `pause()` inside a `message` that `resume()` delivers is undone by that resume, so chunks are queued here first;
 * - a stream with data still in its paused buffer may close: the tail is read before the end is believed;
 * - a connection that ends without a reset looks like a clean end, so only the remote's own close counts as one.
 */
export class Libp2pChannel implements Channel {
  readonly peerId: string
  readonly protocol: string
  readonly #stream: Stream
  readonly #writer: StreamWriter
  readonly #window: Window
  readonly #queue = new ChunkQueue()
  readonly #over = new AbortController()
  /** Set while `read` runs. */
  #sink: ((chunk: Uint8Array) => void | Promise<void>) | undefined
  #done = Promise.withResolvers<void>()
  #started = false
  #sinking = false
  #resuming = false
  /** The remote closed its side: what has arrived, and only that, is all there is. */
  #remoteClosed: boolean
  #failure: Error | undefined

  constructor(stream: Stream, peerId: string) {
    this.peerId = peerId
    this.protocol = stream.protocol
    this.#stream = stream
    this.#writer = new StreamWriter(stream, peerId)
    this.#window = windowOf(stream)
    this.#remoteClosed = stream.status === 'open' && stream.remoteWriteStatus === 'closed'
    this.#done.promise.catch(() => {})
    stream.addEventListener('remoteCloseWrite', this.#onRemoteClose)
    stream.addEventListener('close', this.#onClose)
    if (stream.status === 'open') this.#pause()
    else this.#fail(new Error('the stream had closed before it was used'))
  }

  get closed(): AbortSignal {
    return this.#over.signal
  }

  async read(sink: (chunk: Uint8Array) => void | Promise<void>): Promise<void> {
    if (this.#started) throw new TypeError('a channel is read once')
    this.#started = true
    if (this.#failure !== undefined) throw peerGone(this.peerId, this.#failure)
    this.#sink = sink
    this.#stream.addEventListener('message', this.#onMessage)
    this.#stream.addEventListener('end', this.#advance)
    this.#advance()
    try {
      await this.#done.promise
    } finally {
      this.#sink = undefined
      this.#stream.removeEventListener('message', this.#onMessage)
      this.#stream.removeEventListener('end', this.#advance)
      if (this.#stream.status !== 'open') this.#end()
    }
  }

  write(parts: readonly Uint8Array[]): Promise<void> {
    return this.#writer.write(parts)
  }

  get unacknowledgedBytes(): number {
    return this.#stream.writeBufferLength + this.#window.usedBytes
  }

  acknowledge(): void {
    this.#window.giveBack()
  }

  close(): Promise<void> {
    return this.#writer.close()
  }

  abort(reason: Error): void {
    this.#stream.abort(reason)
  }

  /** Lets go of what the remote still sends, after our side is done with the channel. */
  discard(): void {
    if (this.#started) return
    this.read(() => {}).catch(() => {})
  }

  #onMessage = (event: StreamMessageEvent): void => {
    this.#queue.push(event.data)
    if (this.#resuming) return
    if (!this.#sinking) this.#advance()
    else if (this.#queue.bytes > PAUSE_BYTES) this.#pause()
  }

  #onRemoteClose = (): void => {
    this.#remoteClosed = true
  }

  #onClose = (event: StreamCloseEvent): void => {
    if (event.error !== undefined || !this.#remoteClosed) this.#fail(event.error ?? new Error('the connection was lost'))
    else if (this.#sink === undefined) this.#end()
    else this.#advance()
  }

  /** Hands chunks to the sink until it asks for time, asks the stream for more, or ends the read. */
  #advance = (): void => {
    if (this.#sinking || this.#resuming || this.#sink === undefined) return
    for (;;) {
      for (let chunk = this.#queue.shift(); chunk !== undefined; chunk = this.#queue.shift()) {
        const busy = this.#hand(chunk)
        if (busy) return
      }
      if (this.#failure !== undefined) return
      if (!this.#resume()) break
    }
    if (this.#stream.readableEnded || this.#stream.status !== 'open') this.#finish()
  }

  /** @returns whether the sink wants time (or failed): then `#advance` is called again when it is done */
  #hand(chunk: Uint8Array): boolean {
    let wait: void | Promise<void>
    try {
      wait = this.#sink?.(chunk)
    } catch (error) {
      this.#sinkFailed(error)
      return true
    }
    if (wait === undefined) return false
    this.#sinking = true
    if (this.#queue.bytes > PAUSE_BYTES) this.#pause()
    wait.then(
      () => {
        this.#sinking = false
        if (this.#failure === undefined) this.#advance()
        else this.#done.reject(peerGone(this.peerId, this.#failure))
      },
      (error) => this.#sinkFailed(error),
    )
    return true
  }

  #sinkFailed(error: unknown): void {
    this.#done.reject(error)
    this.#sinking = false
    this.#sink = undefined
    this.abort(error instanceof Error ? error : new Error('the sink failed', { cause: error }))
  }

  #finish(): void {
    if (this.#remoteClosed) this.#done.resolve()
    else this.#fail(new Error('the connection was lost'))
  }

  /** A sink that is at work is waited for: it may be writing from the chunk's memory. */
  #fail(error: Error): void {
    if (this.#failure !== undefined) return
    this.#failure = error
    this.#queue.clear()
    if (!this.#sinking) this.#done.reject(peerGone(this.peerId, error))
    this.#end()
  }

  #end(): void {
    this.#over.abort(peerGone(this.peerId, this.#failure))
  }

  #pause(): void {
    const { readStatus } = this.#stream
    if (readStatus === 'readable') this.#stream.pause()
  }

  /** @returns whether that brought chunks. What it delivers is queued, because a pause from within would be undone. */
  #resume(): boolean {
    if (this.#stream.readStatus !== 'paused') return false
    this.#resuming = true
    try {
      this.#stream.resume()
    } catch {
      // The window update could not be sent because the connection is closed; what was buffered is in the queue by now.
    } finally {
      this.#resuming = false
    }
    if (this.#queue.bytes > PAUSE_BYTES) this.#pause()
    return this.#queue.bytes > 0
  }
}
