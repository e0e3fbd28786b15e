import type { ConnectionEncrypter, MessageStream, SecuredConnection } from '@libp2p/interface'
import type { Uint8ArrayList } from 'uint8arraylist'

const LENGTH_BYTES = 2

/**
 * Takes Noise's frames (a length of two bytes, then so many) out of what a socket brings. A frame is valid until the next one is taken.
 * libp2p's own decoder throws and catches an error, with its stack trace, at the end of each read, and joins chunks that it need not.
 */
export class NoiseFrames {
  /** A frame whose beginning came at the end of a chunk: its length, and then what of it has come. */
  readonly #length = new Uint8Array(LENGTH_BYTES)
  #scratch: Uint8Array = new Uint8Array(0)
  #frameBytes = 0
  #filledBytes = 0;

  *decode(data: Uint8Array | Uint8ArrayList): Generator<Uint8Array, void, undefined> {
    for (const chunk of data instanceof Uint8Array ? [data] : data) yield* this.#framesOf(chunk)
  }

  *#framesOf(chunk: Uint8Array): Generator<Uint8Array, void, undefined> {
    for (let at = 0; at < chunk.length; ) {
      if (this.#filledBytes > 0) {
        at += this.#fill(chunk.subarray(at))
        if (this.#filledBytes < LENGTH_BYTES + this.#frameBytes) continue
        this.#filledBytes = 0
        if (this.#frameBytes > 0) yield this.#scratch.subarray(0, this.#frameBytes)
        continue
      }
      const begin = at + LENGTH_BYTES
      const end = begin + (chunk.length < begin ? 0 : lengthAt(chunk, at))
      if (end > chunk.length) {
        at += this.#fill(chunk.subarray(at))
        continue
      }
      at = end
      if (end > begin) yield chunk.subarray(begin, end)
    }
  }

  /** Takes what belongs to the frame that is coming. @returns how many bytes that were */
  #fill(bytes: Uint8Array): number {
    let at = 0
    for (; at < bytes.length && this.#filledBytes < LENGTH_BYTES; at++) {
      this.#length[this.#filledBytes++] = bytes[at] as number
      if (this.#filledBytes === LENGTH_BYTES) this.#begin(lengthAt(this.#length, 0))
    }
    if (this.#filledBytes < LENGTH_BYTES) {
      // nothing is known of its length yet: more than nothing is to come
      this.#frameBytes = 1
      return at
    }
    const come = this.#filledBytes - LENGTH_BYTES
    const part = bytes.subarray(at, at + this.#frameBytes - come)
    this.#scratch.set(part, come)
    this.#filledBytes += part.length
    return at + part.length
  }

  #begin(frameBytes: number): void {
    this.#frameBytes = frameBytes
    if (this.#scratch.length < frameBytes) this.#scratch = new Uint8Array(frameBytes)
  }
}

function lengthAt(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number)
}

/** What Noise's connections have besides. */
interface NoiseConnection {
  decoder?: { readonly buffer?: Uint8ArrayList; decode?: unknown }
}

/** Noise whose connections are read by `NoiseFrames`; whatever is no connection of Noise's stays as it is. */
export function quickFrames<C>(factory: (components: C) => ConnectionEncrypter): (components: C) => ConnectionEncrypter {
  return (components) => {
    const encrypter = factory(components)
    return {
      protocol: encrypter.protocol,
      secureInbound: async (connection, options) => quick(await encrypter.secureInbound(connection, options)),
      secureOutbound: async (connection, options) => quick(await encrypter.secureOutbound(connection, options)),
    }
  }
}

function quick<S extends SecuredConnection>(secured: S): S {
  const { connection } = secured
  const noise = connection as MessageStream & NoiseConnection
  const { buffer, decode } = noise.decoder ?? {}
  if (buffer === undefined || typeof decode !== 'function') return secured
  const frames = new NoiseFrames()
  // what came before this has no whole frame in it any more
  for (const _ of frames.decode(buffer.subarray())) throw new Error('Noise left a frame behind')
  noise.decoder = frames
  return secured
}
