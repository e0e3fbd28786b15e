import { pieceLength, pieceOffset } from '../../protocols/pieces.ts'
import type { Grant } from '../rendezvous/rendezvous.ts'
import type { Incoming } from './incoming.ts'

/** Rather read on and throw away than open a new request, up to this many bytes. */
export const SKIP_BYTES = 1024 * 1024

/** Collects the bytes of a grant into whole pieces. */
export class PieceCutter {
  readonly #incoming: Incoming
  /** What is granted may shrink as it goes. */
  readonly #grant: Grant
  readonly #orphaned: (index: number) => boolean
  readonly #signal: AbortSignal
  #index: number
  #piece: { bytes: Uint8Array; release(): void } | undefined
  #attempt: ReturnType<Incoming['begin']> | undefined
  #filled = 0

  constructor(incoming: Incoming, grant: Grant, orphaned: (index: number) => boolean, signal: AbortSignal) {
    this.#incoming = incoming
    this.#index = grant.first
    this.#grant = grant
    this.#orphaned = orphaned
    this.#signal = signal
  }

  get #last(): number {
    return Math.min(this.#grant.last, this.#incoming.geometry.pieces - 1)
  }

  get done(): boolean {
    return this.#index > this.#last
  }

  /** @returns whether the run is over: complete, or what follows is not worth reading up to */
  async take(at: number, chunk: Uint8Array, progress: (index: number) => void): Promise<boolean> {
    const { geometry } = this.#incoming
    let offset = 0
    while (!this.done) {
      const position = pieceOffset(geometry, this.#index) + this.#filled
      if (at + chunk.length <= position) return false
      offset = position - at
      if (this.#piece === undefined && !(await this.#next(progress))) return true
      if (pieceOffset(geometry, this.#index) + this.#filled !== position) continue
      const { bytes } = this.#piece as { bytes: Uint8Array }
      const part = chunk.subarray(offset, offset + bytes.length - this.#filled)
      bytes.set(part, this.#filled)
      this.#filled += part.length
      if (this.#attempt !== undefined) this.#incoming.progress(this.#attempt, part.length)
      if (this.#filled === bytes.length) await this.#put(progress)
    }
    return true
  }

  close(): void {
    this.#piece?.release()
    this.#piece = undefined
    if (this.#attempt !== undefined) this.#incoming.end(this.#index, this.#attempt)
    this.#attempt = undefined
  }

  /** Moves on to the next piece of the run that is still needed. @returns false when it is too far to read up to */
  async #next(progress: (index: number) => void): Promise<boolean> {
    const { geometry } = this.#incoming
    const from = this.#index
    while (this.#index <= this.#last && !this.#orphaned(this.#index)) progress(this.#index++)
    if (this.done || (this.#index - from) * geometry.pieceBytes > SKIP_BYTES) return false
    this.#attempt = this.#incoming.begin(this.#index, 'origin')
    this.#piece = await this.#incoming.writer.buffer(pieceLength(geometry, this.#index), { signal: this.#signal })
    return true
  }

  async #put(progress: (index: number) => void): Promise<void> {
    const index = this.#index
    const piece = this.#piece as { bytes: Uint8Array }
    const attempt = this.#attempt as ReturnType<Incoming['begin']>
    await this.#incoming.put(index, piece.bytes, undefined, attempt)
    this.close()
    this.#index++
    this.#filled = 0
    progress(index)
  }
}
