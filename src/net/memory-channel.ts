import type { Channel } from './channel.ts'
import { peerGone } from './peer-errors.ts'

export interface MemoryChannelOptions {
  readonly protocol: string
  /** Bytes one direction holds before its writer waits. */
  readonly bufferBytes: number
  /** Largest chunk a reader is given; small ones show parsers that count on boundaries. */
  readonly chunkBytes: number
}

/** The two ends of one stream: the opener's, whose peer is `serverId`, then the server's. */
export function createChannelPair(
  clientId: string,
  serverId: string,
  options: MemoryChannelOptions,
): [MemoryChannel, MemoryChannel] {
  const there = new Lane(options)
  const back = new Lane(options)
  const client = new MemoryChannel(serverId, options.protocol, 'outbound', back, there)
  const server = new MemoryChannel(clientId, options.protocol, 'inbound', there, back)
  client.join(server)
  server.join(client)
  return [client, server]
}

/** One direction: a queue whose writer waits while it is over its bound. */
class Lane {
  readonly #options: MemoryChannelOptions
  readonly #chunks: Uint8Array[] = []
  #bytes = 0
  #ended = false
  #failure: Error | undefined
  #changed = Promise.withResolvers<void>()

  constructor(options: MemoryChannelOptions) {
    this.#options = options
  }

  get ended(): boolean {
    return this.#ended
  }

  get bytes(): number {
    return this.#bytes
  }

  async put(parts: readonly Uint8Array[]): Promise<void> {
    if (this.#failure !== undefined) throw this.#failure
    for (const part of parts) {
      for (let start = 0; start < part.byteLength; start += this.#options.chunkBytes) {
        this.#chunks.push(part.subarray(start, start + this.#options.chunkBytes))
      }
      this.#bytes += part.byteLength
    }
    this.#signal()
    while (this.#bytes > this.#options.bufferBytes) await this.#change()
  }

  /** `undefined` at the end. A copy, as a network would give: the sender may reuse its memory once answered. */
  async take(): Promise<Uint8Array | undefined> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure
      const chunk = this.#chunks.shift()
      if (chunk !== undefined) {
        this.#bytes -= chunk.byteLength
        this.#signal()
        return chunk.slice()
      }
      if (this.#ended) return undefined
      await this.#change()
    }
  }

  end(): void {
    this.#ended = true
    this.#signal()
  }

  fail(error: Error): void {
    this.#failure ??= error
    this.#ended = true
    this.#chunks.length = 0
    this.#bytes = 0
    this.#signal()
  }

  #signal(): void {
    this.#changed.resolve()
    this.#changed = Promise.withResolvers()
  }

  async #change(): Promise<void> {
    await this.#changed.promise
    if (this.#failure !== undefined) throw this.#failure
  }
}

export class MemoryChannel implements Channel {
  readonly peerId: string
  readonly protocol: string
  readonly #direction: 'inbound' | 'outbound'
  readonly #in: Lane
  readonly #out: Lane
  readonly #over = new AbortController()
  #twin: MemoryChannel | undefined
  #writing: Promise<void> = Promise.resolve()
  #reading = false
  #closing = false

  constructor(peerId: string, protocol: string, direction: 'inbound' | 'outbound', incoming: Lane, outgoing: Lane) {
    this.peerId = peerId
    this.protocol = protocol
    this.#direction = direction
    this.#in = incoming
    this.#out = outgoing
  }

  get closed(): AbortSignal {
    return this.#over.signal
  }

  /** Whether this is the answering end of a stream of `protocol`. */
  serves(protocol: string): boolean {
    return this.#direction === 'inbound' && this.protocol === protocol
  }

  /** Lets go of what the other end still sends, after this end is done with the channel. */
  discard(): void {
    if (!this.#reading) this.read(() => {}).catch(() => {})
  }

  join(twin: MemoryChannel): void {
    this.#twin = twin
  }

  async read(sink: (chunk: Uint8Array) => void | Promise<void>): Promise<void> {
    if (this.#reading) throw new TypeError('a channel is read once')
    this.#reading = true
    for (let chunk = await this.#in.take(); chunk !== undefined; chunk = await this.#in.take()) {
      try {
        await sink(chunk)
      } catch (error) {
        this.abort(error as Error)
        throw error
      }
    }
  }

  async write(parts: readonly Uint8Array[]): Promise<void> {
    if (this.#closing) throw peerGone(this.peerId)
    const turn = this.#writing.then(() => {
      if (this.#out.ended) throw peerGone(this.peerId)
      return this.#out.put(parts)
    })
    this.#writing = turn.catch(() => {})
    await turn
  }

  get unacknowledgedBytes(): number {
    return this.#out.bytes
  }

  acknowledge(): void {}

  async close(): Promise<void> {
    this.#closing = true
    await this.#writing
    this.#out.end()
    if (this.#in.ended) {
      this.#over.abort()
      this.#twin?.end()
    }
  }

  /** Both directions have ended: the other end is told by its twin. */
  end(): void {
    this.#over.abort()
  }

  abort(reason: Error): void {
    this.fail(reason)
    this.#twin?.fail(reason)
  }

  /** The stream was reset or its connection lost. */
  fail(cause: Error): void {
    if (this.#over.signal.aborted) return
    const error = peerGone(this.peerId, cause)
    this.#in.fail(error)
    this.#out.fail(error)
    this.#over.abort(error)
  }
}
