import { ShoalError } from './error.ts'

const HEADER_BYTES = 4
/** What is set aside for a frame before any of it has arrived: its sender has to send in order to make us hold. */
const FIRST_BYTES = 1024

/** One message with its length (u32, big-endian) in front: how messages follow each other on a stream. */
export function encodeFrame(message: Uint8Array): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES + message.length)
  new DataView(frame.buffer).setUint32(0, message.length)
  frame.set(message, HEADER_BYTES)
  return frame
}

export interface FrameDecoder {
  /** Whether a frame has begun that has not ended: a stream that ends here was cut. */
  readonly partial: boolean
  /**
   * Calls `onFrame` for each message that is now complete.
   * @throws ShoalError MESSAGE_MALFORMED (empty), MESSAGE_TOO_LARGE, or what `onFrame` throws; not to be used after that
   */
  push(chunk: Uint8Array): void
}

/** @param onFrame gets a message, a view that is only its own during the call */
export function createFrameDecoder(maxBytes: number, onFrame: (message: Uint8Array) => void): FrameDecoder {
  return new Frames(maxBytes, onFrame)
}

class Frames implements FrameDecoder {
  readonly #maxBytes: number
  readonly #onFrame: (message: Uint8Array) => void
  #headerBytes = 0
  #length = 0
  #gathered = new Uint8Array(0)
  #filled = 0

  constructor(maxBytes: number, onFrame: (message: Uint8Array) => void) {
    this.#maxBytes = maxBytes
    this.#onFrame = onFrame
  }

  get partial(): boolean {
    return this.#headerBytes > 0
  }

  push(chunk: Uint8Array): void {
    let at = 0
    while (at < chunk.length) {
      if (this.#headerBytes < HEADER_BYTES) this.#header(chunk[at++] as number)
      else at = this.#body(chunk, at)
    }
  }

  #header(byte: number): void {
    this.#length = this.#length * 0x100 + byte
    if (++this.#headerBytes < HEADER_BYTES) return
    if (this.#length === 0) throw new ShoalError('MESSAGE_MALFORMED', 'an empty message')
    if (this.#length > this.#maxBytes) {
      throw new ShoalError('MESSAGE_TOO_LARGE', `a message of ${this.#length} bytes, over the limit of ${this.#maxBytes}`)
    }
  }

  /** @returns where in the chunk to go on */
  #body(chunk: Uint8Array, at: number): number {
    const length = this.#length
    const end = Math.min(chunk.length, at + length - this.#filled)
    const part = chunk.subarray(at, end)
    if (part.length === length) {
      this.#done(part)
      return end
    }
    this.#reserve(this.#filled + part.length)
    this.#gathered.set(part, this.#filled)
    this.#filled += part.length
    if (this.#filled === length) this.#done(this.#gathered.subarray(0, length))
    return end
  }

  #done(message: Uint8Array): void {
    this.#headerBytes = 0
    this.#length = 0
    this.#filled = 0
    this.#gathered = new Uint8Array(0)
    this.#onFrame(message)
  }

  #reserve(bytes: number): void {
    if (bytes <= this.#gathered.length) return
    const grown = new Uint8Array(Math.min(this.#length, Math.max(bytes, 2 * this.#gathered.length, FIRST_BYTES)))
    grown.set(this.#gathered.subarray(0, this.#filled))
    this.#gathered = grown
  }
}
