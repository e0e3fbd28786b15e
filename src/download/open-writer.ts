import { Bitfield } from '../../protocols/bitfield.ts'
import type { Digest } from '../../protocols/digest.ts'
import { type Geometry, geometryOf } from '../../protocols/pieces.ts'
import { codeOf, ShoalError } from '../errors.ts'
import type { BlobMeta, BlobWriter, PieceBuffer, Store } from '../store/store.ts'

/** The store's writer; or, where the blob does not fit, one that holds nothing: the download then streams through (window-writer.ts). */
export async function openWriter(store: Store, digest: Digest, size: number): Promise<BlobWriter> {
  try {
    return await store.write(digest, size)
  } catch (error) {
    if (codeOf(error) !== 'STORE_FULL') throw error
    return new FullDisk(digest, size, error)
  }
}

class FullDisk implements BlobWriter {
  readonly digest: Digest
  readonly geometry: Geometry
  readonly meta: BlobMeta = {}
  readonly storedAt = Date.now()
  readonly have: Bitfield
  readonly #error: unknown

  constructor(digest: Digest, size: number, error: unknown) {
    this.digest = digest
    this.geometry = geometryOf(size)
    this.have = new Bitfield(this.geometry.pieces)
    this.#error = error
  }

  get verified(): boolean {
    return false
  }

  get complete(): boolean {
    return false
  }

  async buffer(length: number): Promise<PieceBuffer> {
    return { bytes: new Uint8Array(length), release() {} }
  }

  async put(): Promise<Uint8Array> {
    throw this.#error
  }

  async commit(): Promise<void> {
    throw this.#error
  }

  async readVerified(index: number): Promise<PieceBuffer> {
    throw new ShoalError('BLOB_UNKNOWN', `piece ${index} of ${this.digest} is not held`)
  }

  readRaw(index: number): Promise<PieceBuffer> {
    return this.readVerified(index)
  }

  async hashes(_first: number, count: number): Promise<readonly undefined[]> {
    return new Array(count).fill(undefined)
  }

  async recheck(): Promise<boolean> {
    return false
  }

  async drop(): Promise<void> {}

  async [Symbol.asyncDispose](): Promise<void> {}
}
