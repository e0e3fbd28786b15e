import { DIGEST_CODES, type Digest, digestFromBytes } from './digest.ts'
import { ShoalError } from './error.ts'
import { MAX_BLOB_BYTES } from './pieces.ts'

const PRINTABLE = /^[\x20-\x7e]*$/

/**
 * Reads one message, front to back, big-endian. Each length is checked against its limit and against what is left before
 * anything is sliced; what is returned as bytes is a view, so copy what outlives the message.
 * Every method @throws ShoalError MESSAGE_MALFORMED, or MESSAGE_TOO_LARGE for a length or count over its limit.
 */
export class Reader {
  readonly #bytes: Uint8Array
  readonly #what: string
  #at = 0

  /** @param what names the message in errors */
  constructor(bytes: Uint8Array, what: string) {
    this.#bytes = bytes
    this.#what = what
  }

  get remaining(): number {
    return this.#bytes.length - this.#at
  }

  u8(): number {
    return this.#bytes[this.#advance(1)] as number
  }

  u16(): number {
    const at = this.#advance(2)
    return ((this.#bytes[at] as number) << 8) | (this.#bytes[at + 1] as number)
  }

  u32(): number {
    const at = this.#advance(4)
    const b = this.#bytes
    return (
      (((b[at] as number) << 24) | ((b[at + 1] as number) << 16) | ((b[at + 2] as number) << 8) | (b[at + 3] as number)) >>> 0
    )
  }

  /** Up to 2^53 - 1: more is malformed. */
  u64(): number {
    const value = this.u32() * 2 ** 32 + this.u32()
    if (!Number.isSafeInteger(value)) throw this.malformed('a number over 2^53 - 1')
    return value
  }

  /** The size of a blob. */
  size(): number {
    const size = this.u64()
    if (size > MAX_BLOB_BYTES) throw this.malformed(`a blob of ${size} bytes, over the limit of ${MAX_BLOB_BYTES}`)
    return size
  }

  /** One byte that is 0 or 1. */
  flag(): boolean {
    const value = this.u8()
    if (value > 1) throw this.malformed(`${value} where 0 or 1 is due`)
    return value === 1
  }

  /** One byte that stands for one of `names`, counted from 1. */
  oneOf<Name extends string>(names: readonly Name[]): Name {
    const value = this.u8()
    const name = names[value - 1]
    if (name === undefined) throw this.malformed(`${value} where one of ${names.join(', ')} (1 to ${names.length}) is due`)
    return name
  }

  /** The next `length` bytes, as a view. */
  bytes(length: number): Uint8Array {
    const at = this.#advance(length)
    return this.#bytes.subarray(at, at + length)
  }

  /** The multihash code of the algorithm in one byte, then the digest. */
  digest(): Digest {
    const code = this.u8()
    const known = DIGEST_CODES.get(code)
    if (known === undefined) throw this.malformed(`digest algorithm ${code}`)
    return digestFromBytes(known.algorithm, this.bytes(known.bytes))
  }

  /** A count for what follows: one byte where `max` fits into it, two otherwise. */
  count(max: number): number {
    const count = max <= 0xff ? this.u8() : this.u16()
    if (count > max) throw this.tooLarge(`${count} where at most ${max} are allowed`)
    return count
  }

  /** A count of bytes (see `count`), then so many of printable ASCII. */
  text(maxBytes: number): string {
    const bytes = this.bytes(this.count(maxBytes))
    const text = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
    if (!PRINTABLE.test(text)) throw this.malformed('text that is not printable ASCII')
    return text
  }

  /** A count (see `count`), then so many of what `read` reads. */
  list<T>(max: number, read: () => T): T[] {
    const count = this.count(max)
    const list: T[] = []
    for (let i = 0; i < count; i++) list.push(read())
    return list
  }

  /** Nothing may be left. */
  end(): void {
    if (this.remaining > 0) throw this.malformed(`${this.remaining} bytes after its end`)
  }

  malformed(why: string, cause?: unknown): ShoalError {
    return new ShoalError('MESSAGE_MALFORMED', `${this.#what}: ${why}`, { cause })
  }

  tooLarge(why: string): ShoalError {
    return new ShoalError('MESSAGE_TOO_LARGE', `${this.#what}: ${why}`)
  }

  #advance(length: number): number {
    if (length > this.remaining) throw this.malformed(`ends after ${this.remaining} of ${length} bytes`)
    const at = this.#at
    this.#at += length
    return at
  }
}
