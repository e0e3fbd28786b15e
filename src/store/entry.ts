import { hash as hashOf } from 'node:crypto'
import { pieceLength, pieceOffset } from '../../protocols/pieces.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { BlobFile } from './blob-file.ts'
import type { BufferPool } from './buffers.ts'
import type { Catalog, CatalogOp } from './catalog.ts'
import type { DiskThread } from './disk-thread.ts'
import { isLost, storeFailure } from './failures.ts'
import { HASH_BYTES, type Held } from './held.ts'
import type { Recorder } from './recorder.ts'
import { blobKey, bytesKey, encodeGroup, encodeJson, GROUP_PIECES, groupsOf, pieceKey } from './records.ts'
import { gone } from './refusals.ts'
import type { PieceBuffer } from './store.ts'
import type { Syncer } from './syncer.ts'
import type { Usage } from './usage.ts'

/** What all blobs of one disk store work with. */
export interface DiskParts {
  readonly catalog: Catalog
  readonly thread: DiskThread
  readonly pool: BufferPool
  readonly recorder: Recorder
  readonly syncer: Syncer
  readonly usage: Usage
  readonly log: Log
  readonly metrics: Metrics
  /** Something could not be written: says so once in a while. */
  readonly onFailure: (error: unknown) => void
}

/** One blob of the disk store, shared by all of its handles: its books, its bytes, and what of them is still to be recorded. */
export class Entry {
  readonly held: Held
  readonly file: BlobFile
  readonly parts: DiskParts
  /** Kept whole in the catalog: it has no file. */
  readonly inline: boolean
  /** Handles. */
  users = 0
  writing = false
  /** No longer in the store: nothing more is recorded; handles go on. */
  detached = false
  /** The running digest of the writer, if there is one. */
  task: number | undefined
  /** Epoch to record while there are suspects. */
  readonly #lastEpoch: number
  #content: Buffer | undefined
  #changedGroups = new Set<number>()
  #changedContent = false
  #changed = false

  constructor(held: Held, file: BlobFile, parts: DiskParts, options: { inline: boolean; epoch: number }) {
    this.held = held
    this.file = file
    this.parts = parts
    this.inline = options.inline
    this.#lastEpoch = options.epoch
  }

  /** Whether there is anything to open: a piece, or the proof that the blob is empty. */
  get isHeld(): boolean {
    return this.held.have.count > 0 || this.held.complete
  }

  /** A whole piece, right. @throws ShoalError STORE_CORRUPT, BLOB_UNKNOWN, STORE_FAILED */
  async readVerified(index: number, options: { signal: AbortSignal }): Promise<PieceBuffer> {
    this.held.checkHeld(index)
    if (this.inline) return lent(await this.content())
    const buffer = await this.parts.pool.get(pieceLength(this.held.geometry, index), options)
    try {
      const right = await this.#prove(index, (fd, offset, hash) =>
        this.parts.thread.call({ op: 'read', fd, offset, into: buffer.bytes, hash }),
      )
      if (!right) throw gone(this.held, index)
      options.signal.throwIfAborted()
      return buffer
    } catch (error) {
      buffer.release()
      throw error
    }
  }

  /** Part of a piece, as it is on the disk; a suspect is proven first. @throws as readVerified */
  async readRaw(index: number, begin: number, length: number, options: { signal: AbortSignal }): Promise<PieceBuffer> {
    this.held.checkHeld(index, begin, length)
    if (this.inline) return lent((await this.content()).subarray(begin, begin + length))
    if (this.held.isSuspect(index) && !(await this.check(index))) throw gone(this.held, index)
    const buffer = await this.parts.pool.get(length, options)
    try {
      await this.file.readInto(buffer.bytes, pieceOffset(this.held.geometry, index) + begin)
      options.signal.throwIfAborted()
      return buffer
    } catch (error) {
      buffer.release()
      if (!isLost(error)) throw options.signal.aborted ? error : storeFailure(error, `reading ${this.held.digest}`)
      this.#lost(index, error)
      throw gone(this.held, index)
    }
  }

  /** Reads a held piece and compares. @returns whether it is right; if not, it was dropped */
  async check(index: number): Promise<boolean> {
    if (!this.held.have.has(index)) return false
    if (this.inline) return this.#content === undefined ? this.#reload() : this.held.isWhole(this.#content)
    const length = pieceLength(this.held.geometry, index)
    return this.#prove(index, async (fd, offset, hash) => {
      return Buffer.compare(await this.parts.thread.call({ op: 'hash', fd, offset, length }), hash) === 0
    })
  }

  /** The bytes of a small blob, verified when they were read. @throws ShoalError STORE_CORRUPT */
  async content(): Promise<Buffer> {
    if (this.#content === undefined && !(await this.#reload())) throw gone(this.held, 0)
    return this.#content as Buffer
  }

  /** A piece is in the file (a small blob: `content` is it) and verified. */
  add(index: number, hash: Uint8Array, content?: Buffer): void {
    this.held.add(index, hash)
    if (content !== undefined) {
      this.#content = content
      this.#changedContent = true
    }
    if (!this.detached) this.parts.syncer.touch(this.inline ? undefined : this.file.path)
    this.note(index)
  }

  /** All of it is there, and its digest was verified. */
  addAll(content: { readonly bytes: Buffer } | { readonly hashes: readonly Uint8Array[] }): void {
    if ('hashes' in content) for (const [index, hash] of content.hashes.entries()) this.add(index, hash)
    else if (content.bytes.length > 0) this.add(0, hashOf('sha256', content.bytes, 'buffer'), content.bytes)
    this.held.verified = true
    this.note(undefined)
  }

  /** Forgets a piece. @returns whether it was held */
  remove(index: number): boolean {
    if (!this.held.remove(index)) return false
    this.#content = undefined
    if (this.task !== undefined) this.parts.thread.call({ op: 'dropped', task: this.task, index }).catch(() => {})
    this.note(index)
    return true
  }

  /** A piece on our own disk is wrong: it is dropped before anybody is told. */
  lose(index: number): void {
    if (!this.remove(index)) return
    this.parts.metrics.pieceFailed('disk')
    this.parts.log.warn({ digest: this.held.digest, index }, 'a piece on our own disk was wrong: dropped, to be fetched anew')
  }

  /** What opening the file said: without a file, nothing is held. @throws ShoalError STORE_FAILED when it said something else */
  fileFailed(error: unknown): void {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw storeFailure(error, `opening ${this.file.path}`)
    this.parts.log.warn({ digest: this.held.digest, path: this.file.path }, 'the file of a blob is gone')
    for (let index = 0; index < this.held.geometry.pieces; index++) this.lose(index)
  }

  /** A suspect was read and is right. */
  clear(index: number): void {
    if (!this.held.isSuspect(index)) return
    this.held.clear(index)
    if (this.held.suspects === 0) this.note(undefined)
  }

  /** Something changed (about a piece): to be recorded soon. */
  note(index: number | undefined): void {
    if (this.detached) return
    this.#changed = true
    if (index !== undefined && !this.inline) this.#changedGroups.add(Math.floor(index / GROUP_PIECES))
    this.parts.usage.update(this)
    this.parts.recorder.mark(this)
  }

  /** Records it now. @throws ShoalError STORE_FULL, STORE_FAILED; it is tried again later */
  async record(): Promise<void> {
    if (this.detached) return
    this.note(undefined)
    await this.parts.recorder.record(this)
    this.parts.syncer.touch()
  }

  /** No longer in the store; open handles go on, from memory or an open file. */
  detach(): void {
    this.detached = true
    this.parts.usage.update(this)
    this.parts.recorder.forget(this)
  }

  /** Back in the store: what replaced it could not be recorded. */
  attach(): void {
    this.detached = false
    if (!this.inline) for (let group = 0; group < groupsOf(this.held.geometry.pieces); group++) this.#changedGroups.add(group)
    this.#changedContent = this.#content !== undefined
    this.note(undefined)
  }

  /** What the catalog must be told, once; `undo` when it could not be. */
  takeChanges(): { readonly ops: readonly CatalogOp[]; undo(): void } {
    if (this.detached || !this.#changed) return { ops: [], undo() {} }
    const groups = this.#changedGroups
    const content = this.#changedContent
    const ops = this.isHeld ? [this.#recordOp(), ...this.#groupOps(groups), ...this.#contentOps()] : this.removalOps()
    this.#changedGroups = new Set()
    this.#changedContent = false
    this.#changed = false
    const undo = () => {
      this.#changed = true
      this.#changedContent ||= content
      for (const group of groups) this.#changedGroups.add(group)
    }
    return { ops, undo }
  }

  /** All of its keys. */
  removalOps(): CatalogOp[] {
    const { digest, geometry } = this.held
    const groups = this.inline ? [] : Array.from({ length: groupsOf(geometry.pieces) }, (_, group) => pieceKey(digest, group))
    return [blobKey(digest), bytesKey(digest), ...groups].map((key) => ({ type: 'del', key }))
  }

  #recordOp(): CatalogOp {
    const { digest, geometry, heldBytes, verified, meta, storedAt, suspects } = this.held
    const epoch = suspects === 0 ? this.parts.catalog.epoch : this.#lastEpoch
    const inline = this.inline ? Buffer.from(this.held.hash(0) ?? []).toString('hex') : undefined
    const value = encodeJson({ size: geometry.size, heldBytes, verified, meta, storedAt, epoch, inline })
    return { type: 'put', key: blobKey(digest), value }
  }

  #groupOps(groups: Iterable<number>): CatalogOp[] {
    const { digest, have, hashTable } = this.held
    return Array.from(groups, (group) => {
      return { type: 'put', key: pieceKey(digest, group), value: encodeGroup(group, (index) => have.has(index), hashTable) }
    })
  }

  #contentOps(): CatalogOp[] {
    if (!this.#changedContent || this.#content === undefined) return []
    return [{ type: 'put', key: bytesKey(this.held.digest), value: this.#content }]
  }

  /** @returns whether the piece is right; if not, it was dropped */
  async #prove(index: number, test: (fd: number, offset: number, hash: Uint8Array) => Promise<boolean>): Promise<boolean> {
    const hash = this.held.hash(index)
    if (hash === undefined) return false
    let failure: unknown
    const right = await this.file
      .use((fd) => test(fd, pieceOffset(this.held.geometry, index), hash))
      .catch((error) => {
        if (!isLost(error)) throw storeFailure(error, `reading ${this.held.digest}`)
        failure = error
        return false
      })
    if (right) this.clear(index)
    else if (Buffer.compare(this.held.hash(index) ?? new Uint8Array(HASH_BYTES), hash) === 0) this.#lost(index, failure)
    return right
  }

  #lost(index: number, error: unknown): void {
    if ((error as NodeJS.ErrnoException | undefined)?.code === 'ENOENT') this.fileFailed(error)
    else this.lose(index)
  }

  async #reload(): Promise<boolean> {
    const bytes = await this.parts.catalog.bytes(this.held.digest)
    const right = bytes !== undefined && this.held.isWhole(bytes)
    if (right) this.#content = bytes
    else this.lose(0)
    return right
  }
}

function lent(bytes: Uint8Array): PieceBuffer {
  return { bytes, release() {} }
}
