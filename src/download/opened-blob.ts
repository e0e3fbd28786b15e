import type { Digest } from '../../protocols/digest.ts'
import { type Geometry, pieceOffset, piecesOf } from '../../protocols/pieces.ts'
import { codeOf, ShoalError } from '../errors.ts'
import type { BlobMeta, PieceBuffer, StoredBlob } from '../store/store.ts'
import type { Reading } from './demand.ts'
import type { OpenBlob, VerifiedChunk } from './download.ts'
import type { Session } from './session.ts'

/** Pieces read from the store before the reader asks for them. */
const READ_AHEAD = 2
/** A piece found corrupt is fetched anew this often before the reader is told. */
const MAX_HEALS = 3

/** A held blob whose pieces are all right so far, or a download under way; the first becomes the second when a disk lied. */
export interface Backing {
  stored: StoredBlob | undefined
  session: Session | undefined
}

/** What `Downloads.open` gives. */
export class OpenedBlob implements OpenBlob {
  readonly digest: Digest
  readonly #geometry: Geometry
  readonly #backing: Backing
  readonly #heal: (signal: AbortSignal) => Promise<Session>
  readonly #readings = new Map<object, Reading>()
  #joining: Promise<Session> | undefined
  #closed = false

  /** @param heal joins a download that brings in what the store has lost */
  constructor(digest: Digest, geometry: Geometry, backing: Backing, heal: (signal: AbortSignal) => Promise<Session>) {
    this.digest = digest
    this.#geometry = geometry
    this.#backing = backing
    this.#heal = heal
  }

  get size(): number {
    return this.#geometry.size
  }

  get meta(): BlobMeta {
    return this.#backing.session?.meta ?? this.#backing.stored?.meta ?? {}
  }

  async *read({
    start = 0,
    end = this.size,
    signal,
  }: {
    start?: number
    end?: number
    signal: AbortSignal
  }): AsyncGenerator<VerifiedChunk> {
    const range = piecesOf(this.#geometry, start, Math.min(end, this.size))
    if (range === undefined) {
      if (this.size === 0) await this.whole({ signal })
      return
    }
    const reader = {}
    const ahead: { index: number; piece: Promise<PieceBuffer> }[] = []
    this.#demand(reader, range.first, range.last)
    try {
      for (let index = range.first; index <= range.last; index++) {
        const waiting = ahead.shift()
        const piece = await (waiting?.piece ?? this.#piece(index, reader, range.last, signal))
        for (let next = index + 1 + ahead.length; ahead.length < READ_AHEAD && next <= range.last && this.#hasNow(next); next++) {
          const early = this.#piece(next, reader, range.last, signal)
          early.catch(() => {})
          ahead.push({ index: next, piece: early })
        }
        const reading = this.#readings.get(reader)
        if (reading?.cut) {
          piece.release()
          throw new ShoalError('DIGEST_MISMATCH', `pieces of ${this.digest} that were shown turned out wrong: read it again`)
        }
        if (reading !== undefined) reading.next = index + 1
        const at = pieceOffset(this.#geometry, index)
        const length = Math.min(this.#geometry.pieceBytes, this.size - at)
        const bytes = piece.bytes.subarray(Math.max(0, start - at), Math.min(length, end - at))
        yield { bytes, release: () => piece.release() }
      }
    } finally {
      this.#endDemand(reader)
      for (const { piece } of ahead)
        piece.then(
          (p) => p.release(),
          () => {},
        )
    }
  }

  async whole({ signal }: { signal: AbortSignal }): Promise<void> {
    if (this.#backing.session === undefined && this.#backing.stored?.complete) return
    const session = this.#backing.session ?? (await this.#joinSession(signal))
    const reader = {}
    this.#demand(reader, 0, Math.max(0, this.#geometry.pieces - 1))
    try {
      await session.committed(signal)
    } finally {
      this.#endDemand(reader)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#backing.session?.letGo()
    await this.#backing.stored?.[Symbol.asyncDispose]()
  }

  /** A verified piece; one that our own disk has spoilt is brought in anew, and the reader notices nothing but time. */
  async #piece(index: number, reader: object, last: number, signal: AbortSignal): Promise<PieceBuffer> {
    for (let heals = 0; ; ) {
      try {
        const { session, stored } = this.#backing
        if (session === undefined) return await (stored as StoredBlob).readVerified(index, { signal })
        const piece = await this.#shown(session, index, signal)
        if (piece !== undefined) return piece
      } catch (error) {
        const code = codeOf(error)
        const lost = code === 'STORE_CORRUPT' || (code === 'BLOB_UNKNOWN' && this.#backing.session === undefined)
        if (!lost || heals++ >= MAX_HEALS) throw error
        await this.#joinSession(signal)
        this.#demand(reader, index, last)
      }
    }
  }

  /** `undefined` when it was dropped between the two, because the digest was wrong: it comes again. */
  async #shown(session: Session, index: number, signal: AbortSignal): Promise<PieceBuffer | undefined> {
    const writer = await session.piece(this.#geometry, index, signal)
    try {
      return await writer.readVerified(index, { signal })
    } catch (error) {
      if (codeOf(error) === 'BLOB_UNKNOWN' && !writer.have.has(index)) return undefined
      throw error
    }
  }

  async #joinSession(signal: AbortSignal): Promise<Session> {
    this.#joining ??= this.#heal(signal).catch((error: unknown) => {
      this.#joining = undefined
      throw error
    })
    this.#backing.session = await this.#joining
    return this.#backing.session
  }

  #hasNow(index: number): boolean {
    const { session, stored } = this.#backing
    return session === undefined ? stored?.have.has(index) === true : session.hasNow(index)
  }

  #demand(reader: object, first: number, last: number): void {
    const { session } = this.#backing
    if (session === undefined || this.#readings.has(reader)) return
    this.#readings.set(reader, session.read(first, last))
  }

  #endDemand(reader: object): void {
    const reading = this.#readings.get(reader)
    if (reading !== undefined) this.#backing.session?.endRead(reading)
    this.#readings.delete(reader)
  }
}
