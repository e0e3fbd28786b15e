import type { Digest } from '../../protocols/digest.ts'
import { geometryOf } from '../../protocols/pieces.ts'
import type { MemberMessage } from '../../protocols/rendezvous/codec.ts'
import { MAX_WAIT_MS } from '../../protocols/rendezvous/limits.ts'
import type { Clock } from '../clock.ts'
import type { Line } from './line.ts'
import { OPEN_BYTES, openPieces } from './policy.ts'
import type { Run } from './ranges.ts'
import type { Grant } from './rendezvous.ts'

/** Signs of life are not said more often. */
const ALIVE_MS = 500

export interface GrantTerms {
  readonly digest: Digest
  /** `undefined`: open the origin. */
  readonly size: number | undefined
  readonly run: Run
  readonly clock: Clock
  readonly onSize: (size: number) => void
  readonly onProgress: () => void
  readonly onEnd: (grant: LeasedGrant) => void
}

/** A grant that is on the books of the rendezvous and of its standby, of either alone, or of nobody when this node acts alone. */
export class LeasedGrant implements Grant {
  readonly first: number
  readonly open: boolean
  readonly openBytes: number | undefined
  readonly #terms: GrantTerms
  /** Where it is noted, under which number. */
  readonly #notes = new Map<Line, number>()
  readonly #imported: number[] = []
  #last: number
  #size: number | undefined
  #streams = false
  #opened = false
  #over: { ok: boolean; retryAfterMs: number } | undefined
  #saidAliveAt: number

  constructor(terms: GrantTerms) {
    this.#terms = terms
    this.first = terms.run.first
    this.#last = terms.run.last
    this.#size = terms.size
    this.open = terms.size === undefined
    this.openBytes = this.open ? OPEN_BYTES : undefined
    this.#saidAliveAt = terms.clock.now()
  }

  get last(): number {
    return this.#last
  }

  get size(): number | undefined {
    return this.#size
  }

  streams(): void {
    if (this.#streams || this.#over !== undefined) return
    this.#streams = true
    if (this.#size === undefined) return
    this.#last = geometryOf(this.#size).pieces - 1
    this.#sayOpened()
  }

  sized(size: number): void {
    if (this.#opened || this.#over !== undefined) return
    if (this.#size === undefined) {
      const geometry = geometryOf(size)
      this.#size = size
      this.#last = (this.#streams ? geometry.pieces : openPieces(geometry)) - 1
      this.#terms.onSize(size)
    }
    this.#sayOpened()
  }

  alive(): void {
    const now = this.#terms.clock.now()
    if (this.#over !== undefined || now - this.#saidAliveAt < ALIVE_MS) return
    this.#saidAliveAt = now
    this.#say((lease) => ({ type: 'alive', digest: this.#terms.digest, lease }))
  }

  progress(index: number, size: number): void {
    if (this.#over !== undefined) return
    this.sized(size)
    this.#saidAliveAt = this.#terms.clock.now()
    this.#imported.push(index)
    this.#say((lease) => ({ type: 'progress', digest: this.#terms.digest, lease, index }))
    this.#terms.onProgress()
  }

  end({ ok, retryAfterMs = 0 }: { ok: boolean; retryAfterMs?: number | undefined }): void {
    if (this.#over !== undefined) return
    this.#over = { ok, retryAfterMs: Math.min(MAX_WAIT_MS, Math.max(0, Math.ceil(retryAfterMs))) }
    this.#say((lease) => this.#ending(lease))
    this.#terms.onEnd(this)
  }

  /** How it is told to a table that does not know of it. */
  holding(request: number): MemberMessage {
    const { digest } = this.#terms
    const size = this.#size ?? 0
    return size === 0
      ? { type: 'hold', digest, request, size, first: 0, count: 0 }
      : { type: 'hold', digest, request, size, first: this.first, count: this.#last - this.first + 1 }
  }

  /** It is noted there now: what has been said elsewhere meanwhile is said there too. */
  noted(line: Line, lease: number): void {
    const { digest } = this.#terms
    if (this.#opened) line.say({ type: 'opened', digest, lease, size: this.#size ?? 0, streams: this.#streams })
    for (const index of this.#imported) line.say({ type: 'progress', digest, lease, index })
    if (this.#over !== undefined) line.say(this.#ending(lease))
    else this.#notes.set(line, lease)
  }

  forget(line: Line): void {
    this.#notes.delete(line)
  }

  #sayOpened(): void {
    this.#opened = true
    this.#saidAliveAt = this.#terms.clock.now()
    const { digest } = this.#terms
    this.#say((lease) => ({ type: 'opened', digest, lease, size: this.#size ?? 0, streams: this.#streams }))
  }

  #ending(lease: number): MemberMessage {
    const { ok = false, retryAfterMs = 0 } = this.#over ?? {}
    return { type: 'end', digest: this.#terms.digest, lease, done: ok, retryAfterMs: ok ? 0 : retryAfterMs }
  }

  #say(message: (lease: number) => MemberMessage): void {
    for (const [line, lease] of this.#notes) line.say(message(lease))
  }
}
