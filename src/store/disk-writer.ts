import { hash as hashOf } from 'node:crypto'
import { pieceOffset } from '../../protocols/pieces.ts'
import { DiskBlob } from './disk-blob.ts'
import type { DiskEvent } from './disk-protocol.ts'
import type { Entry } from './entry.ts'
import { isFull, storeFailure } from './failures.ts'
import { checkPiece, digestMismatch, pieceMismatch, piecesMissing } from './refusals.ts'
import type { BlobMeta, BlobWriter, PieceBuffer } from './store.ts'

/** The one writer of a blob of the disk store. */
export class DiskWriter extends DiskBlob implements BlobWriter {
  readonly #entry: Entry
  readonly #puts = new Map<number, Promise<Uint8Array>>()
  /** Keeps the descriptor open that the running digest reads from. */
  #lease: { release(): void } | undefined

  constructor(entry: Entry, onClose: (entry: Entry) => Promise<void>) {
    super(entry, onClose)
    this.#entry = entry
    entry.writing = true
  }

  /** Opens the file, and begins the running digest: before anything else. @throws the system's error */
  async prepare(): Promise<void> {
    const { held, file, inline } = this.#entry
    if (inline) return
    if (held.have.count > 0) await file.use(async () => {}).catch((error) => this.#entry.fileFailed(error))
    await file.create()
    if (held.geometry.pieces > 1 && !held.verified) await this.#beginTask()
  }

  async buffer(length: number, options: { signal: AbortSignal }): Promise<PieceBuffer> {
    this.checkOpen()
    return this.#entry.parts.pool.get(length, options)
  }

  async put(index: number, bytes: Uint8Array, expected: Uint8Array | undefined): Promise<Uint8Array> {
    this.checkOpen()
    const { held } = this.#entry
    held.checkLength(index, bytes.length)
    for (let other = this.#puts.get(index); other !== undefined; other = this.#puts.get(index)) await other.catch(() => {})
    const known = held.hash(index)
    if (known !== undefined) return known
    const put = this.#entry.inline ? this.#putInline(bytes, expected) : this.#putPiece(index, bytes, expected)
    this.#puts.set(index, put)
    try {
      return await put
    } finally {
      this.#puts.delete(index)
    }
  }

  async drop(indices: Iterable<number>): Promise<void> {
    this.checkOpen()
    for (const index of indices) {
      await this.#puts.get(index)?.catch(() => {})
      this.#entry.remove(index)
    }
    if (!this.#entry.detached) await this.#entry.parts.recorder.flush()
  }

  async commit(meta: BlobMeta): Promise<void> {
    this.checkOpen()
    await Promise.allSettled(this.#puts.values())
    const { held } = this.#entry
    if (!held.have.complete) throw piecesMissing(held)
    if (!held.verified) {
      await this.#proveWhole()
      held.verified = true
      held.storedAt = Date.now()
    }
    held.meta = meta
    // The blob is whole and right whether or not that could be written down now: the recorder has said why not, and tries again.
    await this.#entry.record().catch(() => {})
  }

  override async [Symbol.asyncDispose](): Promise<void> {
    await Promise.allSettled(this.#puts.values())
    await this.#endTask()
    this.#entry.writing = false
    await super[Symbol.asyncDispose]()
  }

  async #beginTask(): Promise<void> {
    const { held, file, parts } = this.#entry
    const { geometry, flags, hashTable } = held
    const lease = await file.hold()
    this.#lease = lease
    const task = parts.thread.newTask((event) => this.#onEvent(event))
    this.#entry.task = task
    const { algorithm } = held.digest
    await parts.thread.call({ op: 'begin', task, fd: lease.fd, geometry, algorithm, flags, hashTable })
  }

  async #endTask(): Promise<void> {
    const { task, parts } = this.#entry
    if (task === undefined) return
    this.#entry.task = undefined
    await parts.thread.call({ op: 'end', task }).catch(() => {})
    parts.thread.endTask(task)
    this.#lease?.release()
  }

  #onEvent({ event, index }: DiskEvent): void {
    if (event === 'right') this.#entry.clear(index)
    else this.#entry.lose(index)
  }

  async #putInline(bytes: Uint8Array, expected: Uint8Array | undefined): Promise<Uint8Array> {
    const { held, parts } = this.#entry
    // Content that cannot be recorded would stay in memory.
    if (parts.recorder.failure !== undefined) throw storeFailure(parts.recorder.failure, `writing ${held.digest}`)
    const hash = hashOf('sha256', bytes, 'buffer')
    checkPiece(held, 0, hash, expected)
    if (held.digest.algorithm !== 'sha256' && !held.isWhole(bytes)) throw pieceMismatch(held, 0)
    this.#entry.add(0, hash, Buffer.from(bytes))
    return hash
  }

  async #putPiece(index: number, bytes: Uint8Array, expected: Uint8Array | undefined): Promise<Uint8Array> {
    const { held, file, task, parts } = this.#entry
    const { digest, geometry } = held
    const must = [expected, held.truth(index)].filter((hash) => hash !== undefined).map(shareable)
    const whole =
      geometry.pieces === 1 && digest.algorithm !== 'sha256' ? { algorithm: digest.algorithm, hex: digest.hex } : undefined
    const offset = pieceOffset(geometry, index)
    try {
      const hash = await file.use((fd) =>
        parts.thread.call({ op: 'put', fd, offset, bytes: shareable(bytes), must, whole, task, index }),
      )
      if (hash === 'mismatch') throw pieceMismatch(held, index)
      this.#entry.add(index, hash)
      return hash
    } catch (error) {
      if (isFull(error)) parts.onFailure(error)
      throw storeFailure(error, `writing ${digest}`)
    }
  }

  /** @throws ShoalError DIGEST_MISMATCH, STORE_CORRUPT */
  async #proveWhole(): Promise<void> {
    const { held, task, parts } = this.#entry
    if (task === undefined) {
      // The empty blob is compared here. One piece was compared with the digest when it came: an unclean stop may have changed it.
      if (held.geometry.pieces === 0 && !held.isWhole(new Uint8Array())) throw digestMismatch(held)
      if (held.isSuspect(0) && !(await this.#entry.check(0))) throw piecesMissing(held)
      return
    }
    const result = await parts.thread.call({ op: 'finish', task, hex: held.digest.hex })
    if (result === 'missing') throw piecesMissing(held)
    if (result.matches) return
    for (const index of result.corrupt) this.#entry.lose(index)
    throw result.corrupt.length > 0 ? piecesMissing(held) : digestMismatch(held)
  }
}

/** A view that a thread can be given without its neighbours in the same buffer. */
function shareable(bytes: Uint8Array): Uint8Array {
  return bytes.buffer instanceof SharedArrayBuffer || bytes.byteLength === bytes.buffer.byteLength ? bytes : bytes.slice()
}
