import { DIGEST_ALGORITHMS, type Digest } from './digest.ts'
import { MAX_BLOB_BYTES } from './pieces.ts'

const PRINTABLE = /^[\x20-\x7e]*$/

/** Writes one message as `Reader` reads it. What does not fit a field is the caller's mistake: every method @throws TypeError. */
export class Writer {
  #bytes: Uint8Array
  #length = 0

  /** @param expectedBytes saves growing when it is right */
  constructor(expectedBytes = 128) {
    this.#bytes = new Uint8Array(expectedBytes)
  }

  get length(): number {
    return this.#length
  }

  u8(value: number): this {
    return this.#number(value, 1)
  }

  u16(value: number): this {
    return this.#number(value, 2)
  }

  u32(value: number): this {
    return this.#number(value, 4)
  }

  u64(value: number): this {
    return this.#number(value, 8)
  }

  size(value: number): this {
    if (value > MAX_BLOB_BYTES) throw new TypeError(`a blob of ${value} bytes, over the limit of ${MAX_BLOB_BYTES}`)
    return this.u64(value)
  }

  flag(value: boolean): this {
    return this.u8(value ? 1 : 0)
  }

  oneOf<Name extends string>(names: readonly Name[], name: Name): this {
    const index = names.indexOf(name)
    if (index < 0) throw new TypeError(`"${name}" where one of ${names.join(', ')} is due`)
    return this.u8(index + 1)
  }

  bytes(bytes: Uint8Array): this {
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#length)
    this.#length += bytes.length
    return this
  }

  digest(digest: Digest): this {
    return this.u8(DIGEST_ALGORITHMS[digest.algorithm].multihash).bytes(digest.bytes)
  }

  count(count: number, max: number): this {
    if (count > max) throw new TypeError(`${count} where at most ${max} are allowed`)
    return max <= 0xff ? this.u8(count) : this.u16(count)
  }

  text(text: string, maxBytes: number): this {
    if (!PRINTABLE.test(text)) throw new TypeError(`not printable ASCII: ${JSON.stringify(text.slice(0, 100))}`)
    return this.count(text.length, maxBytes).bytes(Buffer.from(text, 'latin1'))
  }

  list<T>(items: readonly T[], max: number, write: (item: T) => void): this {
    this.count(items.length, max)
    for (const item of items) write(item)
    return this
  }

  /** What was written; the writer is not to be used again. */
  finish(): Uint8Array {
    return this.#bytes.subarray(0, this.#length)
  }

  #number(value: number, bytes: 1 | 2 | 4 | 8): this {
    if (!Number.isSafeInteger(value) || value < 0 || (bytes < 8 && value >= 2 ** (8 * bytes))) {
      throw new TypeError(`${value} does not fit ${bytes} bytes`)
    }
    this.#reserve(bytes)
    let rest = value
    for (let at = this.#length + bytes - 1; at >= this.#length; at--) {
      this.#bytes[at] = rest % 0x100
      rest = Math.floor(rest / 0x100)
    }
    this.#length += bytes
    return this
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(2 * this.#bytes.length, this.#length + bytes))
    grown.set(this.#bytes)
    this.#bytes = grown
  }
}
