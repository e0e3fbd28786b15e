import { createHash, hash as hashOf } from 'node:crypto'
import { type Digest, digestOf } from '../../protocols/digest.ts'
import { ShoalError } from '../../protocols/error.ts'
import { geometryOf, pieceLength } from '../../protocols/pieces.ts'
import { Held } from './held.ts'
import { checkPiece, digestMismatch, gone, pieceMismatch, piecesMissing, sizeDiffers } from './refusals.ts'
import type { BlobInfo, BlobMeta, BlobWriter, PieceBuffer, Store, StoredBlob, TagRecord, TagRecords } from './store.ts'
import { DEFAULT_MAX_TAGS } from './tags.ts'

/** One blob in memory, shared by its handles. */
class Entry {
  readonly held: Held
  readonly pieces: (Uint8Array | undefined)[]
  writing = false

  constructor(digest: Digest, size: number) {
    const geometry = geometryOf(size)
    this.held = new Held(digest, geometry, Date.now())
    this.pieces = new Array<Uint8Array | undefined>(geometry.pieces).fill(undefined)
  }

  put(index: number, bytes: Uint8Array, expected: Uint8Array | undefined): Uint8Array {
    const { held } = this
    held.checkLength(index, bytes.length)
    const known = held.hash(index)
    if (known !== undefined) return known
    const hash = hashOf('sha256', bytes, 'buffer')
    checkPiece(held, index, hash, expected)
    if (held.geometry.pieces === 1 && !digestOf(bytes, held.digest.algorithm).equals(held.digest)) throw pieceMismatch(held, 0)
    this.pieces[index] = Uint8Array.from(bytes)
    held.add(index, hash)
    return hash
  }

  remove(index: number): void {
    this.held.remove(index)
    this.pieces[index] = undefined
  }

  /** Right as recorded? Dropped if not. */
  verify(index: number): boolean {
    const hash = hashOf('sha256', this.pieces[index] as Uint8Array, 'buffer')
    if (hash.equals(this.held.hash(index) as Uint8Array)) return true
    this.remove(index)
    return false
  }

  commit(meta: BlobMeta): void {
    const { held } = this
    if (!held.have.complete) throw piecesMissing(held)
    if (!held.verified) {
      const whole = createHash(held.digest.algorithm)
      for (const piece of this.pieces) whole.update(piece as Uint8Array)
      if (whole.digest('hex') !== held.digest.hex) throw digestMismatch(held)
    }
    held.verified = true
    held.meta = meta
    held.storedAt = Date.now()
  }
}

class MemoryBlob implements StoredBlob {
  readonly entry: Entry

  constructor(entry: Entry) {
    this.entry = entry
  }

  get digest() {
    return this.entry.held.digest
  }

  get geometry() {
    return this.entry.held.geometry
  }

  get meta() {
    return this.entry.held.meta
  }

  get have() {
    return this.entry.held.have
  }

  get verified() {
    return this.entry.held.verified
  }

  get complete() {
    return this.entry.held.complete
  }

  get storedAt() {
    return this.entry.held.storedAt
  }

  async readVerified(index: number, options: { signal: AbortSignal }): Promise<PieceBuffer> {
    options.signal.throwIfAborted()
    this.entry.held.checkHeld(index)
    if (!this.entry.verify(index)) throw gone(this.entry.held, index)
    return buffered(Uint8Array.from(this.entry.pieces[index] as Uint8Array))
  }

  async readRaw(index: number, begin: number, length: number, options: { signal: AbortSignal }): Promise<PieceBuffer> {
    options.signal.throwIfAborted()
    this.entry.held.checkHeld(index, begin, length)
    return buffered((this.entry.pieces[index] as Uint8Array).slice(begin, begin + length))
  }

  async hashes(first: number, count: number): Promise<readonly (Uint8Array | undefined)[]> {
    return this.entry.held.hashes(first, count)
  }

  async recheck(index: number): Promise<boolean> {
    return this.have.has(index) && this.entry.verify(index)
  }

  async [Symbol.asyncDispose](): Promise<void> {}
}

class MemoryWriter extends MemoryBlob implements BlobWriter {
  readonly #closed: () => void

  constructor(entry: Entry, closed: () => void) {
    super(entry)
    this.#closed = closed
  }

  async buffer(length: number, options: { signal: AbortSignal }): Promise<PieceBuffer> {
    options.signal.throwIfAborted()
    return buffered(new Uint8Array(length))
  }

  async put(index: number, bytes: Uint8Array, expected: Uint8Array | undefined): Promise<Uint8Array> {
    return this.entry.put(index, bytes, expected)
  }

  async drop(indices: Iterable<number>): Promise<void> {
    for (const index of indices) this.entry.remove(index)
  }

  async commit(meta: BlobMeta): Promise<void> {
    this.entry.commit(meta)
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    this.entry.writing = false
    this.#closed()
  }
}

class MemoryStore implements Store {
  readonly tags: TagRecords
  readonly #entries = new Map<string, Entry>()

  constructor(maxTags: number) {
    this.tags = new MemoryTags(maxTags)
  }

  async open(digest: Digest): Promise<StoredBlob | undefined> {
    const entry = this.#entries.get(digest.toString())
    return entry !== undefined && isHeld(entry.held) ? new MemoryBlob(entry) : undefined
  }

  async write(digest: Digest, size: number): Promise<BlobWriter> {
    const key = digest.toString()
    let entry = this.#entries.get(key)
    if (entry?.writing) throw new ShoalError('STORE_FAILED', `${digest} has a writer already`)
    if (entry !== undefined && entry.held.geometry.size !== size) {
      if (entry.held.verified) throw sizeDiffers(entry.held, size)
      entry = undefined
    }
    entry ??= new Entry(digest, size)
    entry.writing = true
    this.#entries.set(key, entry)
    return new MemoryWriter(entry, () => {
      if (this.#entries.get(key) === entry && !isHeld(entry.held)) this.#entries.delete(key)
    })
  }

  async ingest(
    source: AsyncIterable<Uint8Array>,
    options: { expected?: Digest; meta?: BlobMeta; signal: AbortSignal },
  ): Promise<BlobInfo> {
    const chunks: Uint8Array[] = []
    for await (const chunk of source) {
      options.signal.throwIfAborted()
      chunks.push(Uint8Array.from(chunk))
    }
    const bytes = Buffer.concat(chunks)
    const digest = digestOf(bytes, options.expected?.algorithm)
    if (options.expected !== undefined && !digest.equals(options.expected)) {
      throw new ShoalError('DIGEST_MISMATCH', `the content is ${digest}, not ${options.expected}`)
    }
    const existing = this.#entries.get(digest.toString())
    if (existing?.held.complete) {
      if (options.meta !== undefined) existing.held.meta = options.meta
      return existing.held.info()
    }
    const entry = new Entry(digest, bytes.length)
    const { geometry } = entry.held
    for (let i = 0, at = 0; i < geometry.pieces; at += pieceLength(geometry, i++)) {
      entry.put(i, bytes.subarray(at, at + pieceLength(geometry, i)), undefined)
    }
    entry.commit(options.meta ?? {})
    this.#entries.set(digest.toString(), entry)
    return entry.held.info()
  }

  async setMeta(digest: Digest, meta: BlobMeta): Promise<void> {
    const entry = this.#entries.get(digest.toString())
    if (entry === undefined) throw new ShoalError('BLOB_UNKNOWN', `${digest} is not held`)
    entry.held.meta = meta
  }

  async delete(digest: Digest): Promise<boolean> {
    const entry = this.#entries.get(digest.toString())
    this.#entries.delete(digest.toString())
    return entry !== undefined && isHeld(entry.held)
  }

  async *list(): AsyncIterable<BlobInfo> {
    for (const entry of [...this.#entries.values()]) if (isHeld(entry.held)) yield entry.held.info()
  }

  async usage(): Promise<{ readonly blobs: number; readonly bytes: number }> {
    const held = [...this.#entries.values()].map((entry) => entry.held).filter(isHeld)
    return { blobs: held.length, bytes: held.reduce((sum, each) => sum + each.heldBytes, 0) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#entries.clear()
  }
}

class MemoryTags implements TagRecords {
  readonly #maxTags: number
  readonly #records = new Map<string, TagRecord>()

  constructor(maxTags: number) {
    this.#maxTags = maxTags
  }

  async get(name: string): Promise<TagRecord | undefined> {
    return this.#records.get(name)
  }

  async set(name: string, record: TagRecord): Promise<void> {
    this.#records.delete(name)
    this.#records.set(name, record)
    if (this.#records.size > this.#maxTags) this.#records.delete(this.#records.keys().next().value as string)
  }

  async delete(name: string): Promise<void> {
    this.#records.delete(name)
  }
}

/** Whether there is anything to open: a piece, or the proof that the blob is empty. */
function isHeld(held: Held): boolean {
  return held.have.count > 0 || held.complete
}

function buffered(bytes: Uint8Array): PieceBuffer {
  return { bytes, release() {} }
}

/** A store that forgets everything when it is closed: for tests, and for what must not touch a disk. */
export function createMemoryStore(options: { maxTags?: number } = {}): Store {
  return new MemoryStore(options.maxTags ?? DEFAULT_MAX_TAGS)
}
