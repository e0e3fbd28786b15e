import { setTimeout as delay } from 'node:timers/promises'
import { geometryOf } from '../../protocols/pieces.ts'
import { type PieceHeld, parsePieceLine } from './timeline.ts'

const POLL_MS = 20

/** How far a traced crowd has come, from what its daemons log. */
export class Progress {
  readonly held: PieceHeld[] = []
  readonly #imported = new Set<string>()
  readonly #digests: ReadonlySet<string>
  readonly #pieces: number
  readonly #hosts: number

  constructor(layers: readonly { readonly digest: unknown; readonly size: number }[], hosts: number) {
    this.#digests = new Set(layers.map(({ digest }) => String(digest)))
    this.#pieces = layers.reduce((sum, { size }) => sum + geometryOf(size).pieces, 0)
    this.#hosts = hosts
  }

  /** Pieces of all layers together. */
  get pieces(): number {
    return this.#pieces
  }

  get heldPart(): number {
    return this.held.length / (this.#pieces * this.#hosts)
  }

  get importedPart(): number {
    return this.#imported.size / this.#pieces
  }

  hear(host: number, line: string): void {
    const piece = parsePieceLine(host, line)
    if (piece === undefined || !this.#digests.has(piece.digest)) return
    this.held.push(piece)
    if (piece.from === 'origin') this.#imported.add(`${piece.digest} ${piece.index}`)
  }

  async until(condition: (progress: Progress) => boolean, signal: AbortSignal): Promise<void> {
    while (!condition(this)) await delay(POLL_MS, undefined, { signal })
  }
}
