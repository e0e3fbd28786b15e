import { createHash, type Hash } from 'node:crypto'
import type { Bitfield } from '../../protocols/bitfield.ts'
import type { Digest } from '../../protocols/digest.ts'
import { type Geometry, pieceLength } from '../../protocols/pieces.ts'
import { ShoalError } from '../errors.ts'
import type { BlobMeta, BlobWriter, PieceBuffer } from '../store/store.ts'
import { same } from './claim-book.ts'
import type { Demand } from './demand.ts'

/** What may be kept in memory ahead of the readers. */
const WINDOW_BYTES = 32 * 1024 * 1024

/**
 * Stands in for a store that is full: pieces that its disk already holds stay there, the others are kept in memory only until every
 * reader is past them. The whole digest is still verified before the last piece is shown; nothing is committed.
 */
export function openWindowWriter(disk: BlobWriter, demand: Demand): BlobWriter {
  return new WindowWriter(disk, demand)
}

class WindowWriter implements BlobWriter {
  readonly digest: Digest
  readonly geometry: Geometry
  readonly meta: BlobMeta
  readonly storedAt: number
  readonly have: Bitfield
  readonly #disk: BlobWriter
  readonly #demand: Demand
  readonly #window = new Map<number, Uint8Array>()
  readonly #hashes = new Map<number, Uint8Array>()
  readonly #room = new Set<() => void>()
  #running: Hash
  #hashed = 0
  #hashing: Promise<void> = Promise.resolve()
  #checked = false

  constructor(disk: BlobWriter, demand: Demand) {
    this.#disk = disk
    this.#demand = demand
    this.digest = disk.digest
    this.geometry = disk.geometry
    this.meta = disk.meta
    this.storedAt = disk.storedAt
    this.have = disk.have.clone()
    this.#running = createHash(disk.digest.algorithm)
  }

  get verified(): boolean {
    return this.#checked
  }

  get complete(): boolean {
    return this.#checked
  }

  /** Waits until the piece would fit the window: readers that lag hold the download back. */
  async buffer(length: number, options: { signal: AbortSignal }): Promise<PieceBuffer> {
    for (;;) {
      this.#evict()
      if ((this.#window.size + 1) * this.geometry.pieceBytes <= Math.max(WINDOW_BYTES, 2 * this.geometry.pieceBytes)) break
      await new Promise<void>((resolve, reject) => {
        const timer = setTimeout(done, 20)
        const onAbort = () => done(options.signal.reason as Error)
        const room = this.#room
        room.add(done)
        options.signal.addEventListener('abort', onAbort, { once: true })
        function done(error?: Error): void {
          clearTimeout(timer)
          room.delete(done)
          options.signal.removeEventListener('abort', onAbort)
          if (error === undefined) resolve()
          else reject(error)
        }
      })
      options.signal.throwIfAborted()
    }
    return this.#disk.buffer(length, options)
  }

  async put(index: number, bytes: Uint8Array, expected: Uint8Array | undefined): Promise<Uint8Array> {
    const hash = new Uint8Array(await crypto.subtle.digest('SHA-256', Buffer.from(bytes)))
    if (expected !== undefined && !same(hash, expected))
      throw new ShoalError('PIECE_MISMATCH', `piece ${index} of ${this.digest} does not match`)
    if (this.have.has(index)) return hash
    this.#window.set(index, Uint8Array.from(bytes))
    this.#hashes.set(index, hash)
    this.have.add(index)
    this.#hashing = this.#hashing.then(() => this.#hashInOrder())
    await this.#hashing
    return hash
  }

  async readVerified(index: number, options: { signal: AbortSignal }): Promise<PieceBuffer> {
    const bytes = this.#window.get(index)
    if (bytes !== undefined) return { bytes, release() {} }
    if (this.#disk.have.has(index)) return this.#disk.readVerified(index, options)
    this.have.delete(index)
    throw new ShoalError('STORE_CORRUPT', `piece ${index} of ${this.digest} is no longer in memory`)
  }

  async readRaw(index: number, begin: number, length: number, options: { signal: AbortSignal }): Promise<PieceBuffer> {
    const bytes = this.#window.get(index)
    if (bytes !== undefined) return { bytes: bytes.subarray(begin, begin + length), release() {} }
    if (this.#disk.have.has(index)) return this.#disk.readRaw(index, begin, length, options)
    throw new ShoalError('BLOB_UNKNOWN', `piece ${index} of ${this.digest} is no longer in memory`)
  }

  async hashes(first: number, count: number): Promise<readonly (Uint8Array | undefined)[]> {
    const onDisk = await this.#disk.hashes(first, count)
    return onDisk.map((hash, i) => this.#hashes.get(first + i) ?? hash)
  }

  async recheck(index: number): Promise<boolean> {
    return this.#window.has(index) || this.#disk.recheck(index)
  }

  async drop(indices: Iterable<number>): Promise<void> {
    const dropped = [...indices]
    for (const index of dropped) {
      this.#window.delete(index)
      this.#hashes.delete(index)
      this.have.delete(index)
    }
    await this.#disk.drop(dropped)
    if (dropped.some((index) => index < this.#hashed)) {
      this.#hashed = 0
      this.#running = createHash(this.digest.algorithm)
    }
  }

  async commit(_meta: BlobMeta): Promise<void> {
    await this.#hashing
    await this.#hashInOrder()
    if (this.#checked) return
    if (this.#hashed < this.geometry.pieces || this.#running.digest('hex') !== this.digest.hex) {
      this.#hashed = 0
      this.#running = createHash(this.digest.algorithm)
      throw new ShoalError('DIGEST_MISMATCH', `the content is not ${this.digest}`)
    }
    this.#checked = true
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#window.clear()
    await this.#disk[Symbol.asyncDispose]()
  }

  /** Feeds the running digest with what has come in order, from the disk and from memory. */
  async #hashInOrder(): Promise<void> {
    while (!this.#checked && this.#hashed < this.geometry.pieces && this.have.has(this.#hashed)) {
      const piece = await this.readVerified(this.#hashed, { signal: new AbortController().signal })
      this.#running.update(piece.bytes.subarray(0, pieceLength(this.geometry, this.#hashed)))
      piece.release()
      this.#hashed++
    }
  }

  /** Lets go what is hashed and behind every reader. A blob shown as held stays so in `have`: a late reader fetches it again. */
  #evict(): void {
    const earliest = this.#demand.earliest ?? 0
    for (const index of this.#window.keys()) if (index < earliest && index < this.#hashed) this.#window.delete(index)
    for (const wake of [...this.#room]) wake()
  }
}
