import { hash as hashOf } from 'node:crypto'
import { Bitfield } from '../../protocols/bitfield.ts'
import type { Digest } from '../../protocols/digest.ts'
import { ShoalError } from '../../protocols/error.ts'
import { type Geometry, pieceLength } from '../../protocols/pieces.ts'
import type { BlobInfo, BlobMeta } from './store.ts'

export const HASH_BYTES = 32

/** What a thread may see of a piece: `flags[index]` of Held. */
export const ABSENT = 0
export const HELD = 1
/** Held, but written before an unclean stop and not yet verified since. */
export const SUSPECT = 2

/** The books of one blob: which pieces are held, their hashes, and what has been proven about them. No I/O. */
export class Held {
  readonly digest: Digest
  readonly geometry: Geometry
  readonly have: Bitfield
  meta: BlobMeta = {}
  storedAt: number
  /** The whole digest was verified once, so the hashes of its pieces are the truth: also of those that were lost since. */
  verified = false
  /** One byte a piece (ABSENT, HELD, SUSPECT) and 32 a hash, in shared memory so that the disk thread needs no copy. */
  readonly flags: Uint8Array
  readonly hashTable: Uint8Array
  heldBytes = 0
  #suspects = 0

  constructor(digest: Digest, geometry: Geometry, storedAt: number) {
    this.digest = digest
    this.geometry = geometry
    this.storedAt = storedAt
    this.have = new Bitfield(geometry.pieces)
    // Only the running digest of several pieces needs to share them, and plain memory is cheaper.
    const Memory = geometry.pieces > 1 ? SharedArrayBuffer : ArrayBuffer
    this.flags = new Uint8Array(new Memory(geometry.pieces))
    this.hashTable = new Uint8Array(new Memory(geometry.pieces * HASH_BYTES))
  }

  get complete(): boolean {
    return this.verified && this.have.complete
  }

  /** Pieces that must be verified before they are served raw. */
  get suspects(): number {
    return this.#suspects
  }

  isSuspect(index: number): boolean {
    return this.flags[index] === SUSPECT
  }

  /** The hash a piece must have, where that is known without asking anybody. */
  truth(index: number): Uint8Array | undefined {
    if (this.verified) return this.#known(index)
    return this.geometry.pieces === 1 && this.digest.algorithm === 'sha256' ? this.digest.bytes : undefined
  }

  /** A copy of the hash of a held piece. */
  hash(index: number): Uint8Array | undefined {
    return this.have.has(index) ? this.#known(index) : undefined
  }

  hashes(first: number, count: number): (Uint8Array | undefined)[] {
    const last = Math.min(this.geometry.pieces, first + count)
    return Array.from({ length: Math.max(0, last - first) }, (_, i) => this.hash(first + i))
  }

  /** The hash of a piece of a verified blob, held or not. */
  learn(index: number, hash: Uint8Array): void {
    this.hashTable.set(hash, index * HASH_BYTES)
  }

  /** Whether the hash of each piece is known. */
  get knowsAll(): boolean {
    for (let i = 0; i < this.geometry.pieces; i++) if (this.#known(i) === undefined) return false
    return true
  }

  add(index: number, hash: Uint8Array, flag: typeof HELD | typeof SUSPECT = HELD): void {
    if (!this.have.add(index)) return
    this.hashTable.set(hash, index * HASH_BYTES)
    this.flags[index] = flag
    if (flag === SUSPECT) this.#suspects++
    this.heldBytes += pieceLength(this.geometry, index)
  }

  /** @returns whether it was held */
  remove(index: number): boolean {
    if (!this.have.delete(index)) return false
    if (this.isSuspect(index)) this.#suspects--
    this.flags[index] = ABSENT
    if (!this.verified) this.hashTable.fill(0, index * HASH_BYTES, (index + 1) * HASH_BYTES)
    this.heldBytes -= pieceLength(this.geometry, index)
    return true
  }

  /** The piece was read and is right. */
  clear(index: number): void {
    if (!this.isSuspect(index)) return
    this.flags[index] = HELD
    this.#suspects--
  }

  /** Whether these bytes are all of the blob. Hashes on the calling thread: for small blobs. */
  isWhole(bytes: Uint8Array): boolean {
    return bytes.length === this.geometry.size && hashOf(this.digest.algorithm, bytes, 'hex') === this.digest.hex
  }

  info(): BlobInfo {
    const { digest, complete, heldBytes, meta, storedAt } = this
    return { digest, size: this.geometry.size, complete, heldBytes, meta, storedAt }
  }

  /** @throws RangeError, TypeError for a caller's mistake */
  checkLength(index: number, length: number): void {
    const expected = pieceLength(this.geometry, index)
    if (length !== expected) throw new TypeError(`piece ${index} has ${expected} bytes, not ${length}`)
  }

  /** @throws ShoalError BLOB_UNKNOWN, RangeError */
  checkHeld(index: number, begin = 0, length = 0): void {
    const bytes = pieceLength(this.geometry, index)
    if (begin < 0 || length < 0 || begin + length > bytes) throw new RangeError(`${begin}+${length} of a piece of ${bytes} bytes`)
    if (!this.have.has(index)) throw new ShoalError('BLOB_UNKNOWN', `piece ${index} of ${this.digest} is not held`)
  }

  #known(index: number): Uint8Array | undefined {
    const hash = this.hashTable.slice(index * HASH_BYTES, (index + 1) * HASH_BYTES)
    return hash.some((byte) => byte !== 0) ? hash : undefined
  }
}
