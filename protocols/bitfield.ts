import { ShoalError } from './error.ts'

/** Which pieces of a blob are held. Bit i is bit `7 - i % 8` of byte `i >> 3` (BEP 3 order); spare bits are zero. */
export class Bitfield {
  readonly length: number
  readonly #bytes: Uint8Array
  #count = 0

  constructor(length: number) {
    this.length = length
    this.#bytes = new Uint8Array((length + 7) >> 3)
  }

  static full(length: number): Bitfield {
    const field = new Bitfield(length)
    for (let i = 0; i < length; i++) field.add(i)
    return field
  }

  /** @throws ShoalError MESSAGE_MALFORMED when the byte length or a spare bit is wrong */
  static from(bytes: Uint8Array, length: number): Bitfield {
    const field = new Bitfield(length)
    if (bytes.length !== field.#bytes.length) {
      throw new ShoalError(
        'MESSAGE_MALFORMED',
        `a bitfield of ${length} pieces has ${field.#bytes.length} bytes, not ${bytes.length}`,
      )
    }
    field.#bytes.set(bytes)
    for (let i = 0; i < bytes.length * 8; i++) {
      if (((bytes[i >> 3] as number) & (0x80 >> (i & 7))) === 0) continue
      if (i >= length) throw new ShoalError('MESSAGE_MALFORMED', `a bitfield of ${length} pieces has spare bit ${i} set`)
      field.#count++
    }
    return field
  }

  /** How many pieces are held. */
  get count(): number {
    return this.#count
  }

  get complete(): boolean {
    return this.#count === this.length
  }

  has(index: number): boolean {
    return index >= 0 && index < this.length && ((this.#bytes[index >> 3] as number) & (0x80 >> (index & 7))) !== 0
  }

  /** @returns whether it changed */
  add(index: number): boolean {
    if (index < 0 || index >= this.length) throw new RangeError(`piece ${index} of ${this.length}`)
    if (this.has(index)) return false
    this.#bytes[index >> 3] = (this.#bytes[index >> 3] as number) | (0x80 >> (index & 7))
    this.#count++
    return true
  }

  /** Adds all that another field of the same length holds. */
  addAll(other: Bitfield): void {
    if (other.length !== this.length) throw new RangeError(`${other.length} pieces into ${this.length}`)
    for (let i = 0; i < this.#bytes.length; i++) {
      const before = this.#bytes[i] as number
      const after = before | (other.#bytes[i] as number)
      if (after === before) continue
      this.#count += ones(after) - ones(before)
      this.#bytes[i] = after
    }
  }

  /** Deletes all that another field of the same length does not hold. */
  keepAll(other: Bitfield): void {
    if (other.length !== this.length) throw new RangeError(`${other.length} pieces into ${this.length}`)
    for (let i = 0; i < this.#bytes.length; i++) {
      const before = this.#bytes[i] as number
      const after = before & (other.#bytes[i] as number)
      this.#count += ones(after) - ones(before)
      this.#bytes[i] = after
    }
  }

  /** @returns whether it changed */
  delete(index: number): boolean {
    if (!this.has(index)) return false
    this.#bytes[index >> 3] = (this.#bytes[index >> 3] as number) & ~(0x80 >> (index & 7))
    this.#count--
    return true
  }

  /** The first index at or after `from` that is not held, or `undefined`. */
  firstMissing(from = 0): number | undefined {
    for (let i = from; i < this.length; i++) {
      if ((i & 7) === 0 && this.#bytes[i >> 3] === 0xff) {
        i += 7
        continue
      }
      if (!this.has(i)) return i
    }
    return undefined
  }

  clone(): Bitfield {
    return Bitfield.from(this.#bytes, this.length)
  }

  /** A copy of the bytes, as sent. */
  toBytes(): Uint8Array {
    return this.#bytes.slice()
  }
}

/** How many bits of a byte are set. */
function ones(byte: number): number {
  let count = 0
  for (let rest = byte; rest > 0; rest &= rest - 1) count++
  return count
}
