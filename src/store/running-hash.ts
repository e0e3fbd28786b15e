import { createHash, type Hash, hash as hashOf } from 'node:crypto'
import { pieceLength, pieceOffset } from '../../protocols/pieces.ts'
import type { DigestTask } from './disk-protocol.ts'
import { ABSENT, HASH_BYTES, HELD, SUSPECT } from './held.ts'

/** Reads exactly this much of a file into scratch memory. @throws when it is not there */
export type ReadBack = (fd: number, offset: number, length: number) => Uint8Array

/** What became of the piece that `step` read back; `undefined`: it was not suspect. */
export type StepResult = { readonly index: number; readonly event: 'right' | 'wrong' } | undefined

/** The digest of a whole blob, hashed in order while its pieces come in any order: from the buffer at hand, or read back later. */
export class RunningHash {
  readonly #task: DigestTask
  readonly #read: ReadBack
  #hash: Hash
  #next = 0
  /** Pieces that were hashed as the file has them now, not as they came in. */
  #readBack: number[] = []
  /** A piece that was found wrong; it stays so until it is dropped. */
  #wrong: number | undefined

  constructor(task: DigestTask, read: ReadBack) {
    this.#task = task
    this.#read = read
    this.#hash = createHash(task.algorithm)
  }

  get done(): boolean {
    return this.#next === this.#task.geometry.pieces
  }

  /** Whether the next piece is in the file. */
  get ready(): boolean {
    return !this.done && this.#next !== this.#wrong && this.#task.flags[this.#next] !== ABSENT
  }

  /** A piece has been verified and written; its bytes are still at hand. */
  offer(index: number, bytes: Uint8Array): void {
    this.#task.flags[index] = HELD
    if (index !== this.#next) return
    this.#hash.update(bytes)
    this.#next++
  }

  /** Reads the next piece back. Only when `ready`. */
  step(): StepResult {
    const index = this.#next
    const suspect = this.#task.flags[index] === SUSPECT
    try {
      const bytes = this.#piece(index)
      if (suspect && !this.#fits(index, bytes)) return this.#refuse(index)
      this.#hash.update(bytes)
    } catch {
      return this.#refuse(index)
    }
    this.#readBack.push(index)
    this.#next++
    return suspect ? { index, event: 'right' } : undefined
  }

  forget(index: number): void {
    if (index === this.#wrong) this.#wrong = undefined
    if (index >= this.#next) return
    this.#hash = createHash(this.#task.algorithm)
    this.#next = 0
    this.#readBack = []
  }

  /** Only when `done`. When the digest is another, says which pieces our own disk changed. */
  result(hex: string): { matches: boolean; corrupt: number[] } {
    if (this.#hash.copy().digest('hex') === hex) return { matches: true, corrupt: [] }
    return { matches: false, corrupt: this.#readBack.filter((index) => !this.#isRight(index)) }
  }

  #refuse(index: number): StepResult {
    this.#wrong = index
    return { index, event: 'wrong' }
  }

  #piece(index: number): Uint8Array {
    const { fd, geometry } = this.#task
    return this.#read(fd, pieceOffset(geometry, index), pieceLength(geometry, index))
  }

  #fits(index: number, bytes: Uint8Array): boolean {
    const known = this.#task.hashTable.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES)
    return hashOf('sha256', bytes, 'buffer').equals(known)
  }

  #isRight(index: number): boolean {
    try {
      return this.#fits(index, this.#piece(index))
    } catch {
      return false
    }
  }
}
