import type { Digest } from '../../protocols/digest.ts'
import { type Clock, SYSTEM_CLOCK } from '../clock.ts'
import { codeOf, ShoalError } from '../errors.ts'
import type { Store } from '../store/store.ts'
import type { Log } from '../telemetry/log.ts'
import type { Downloads } from './download.ts'

/** Blobs that wait for their turn: a disk that spoils more has to be replaced. */
const MAX_WAITING = 256
const FIRST_RETRY_MS = 30_000
/** With pauses that double, over about half an hour; after that a reader is what brings it in anew. */
const MAX_TRIES = 6

export interface MendingOptions {
  readonly store: Store
  readonly downloads: Downloads
  /** Tells peers that less of a blob is held than they were told. */
  readonly onLoss: (digest: Digest) => void
  readonly log: Log
  readonly clock?: Clock
}

interface Wound {
  readonly digest: Digest
  tries: number
  /** Monotonic milliseconds. */
  dueAt: number
}

/** Brings in anew, one blob after the other, what our own disk has spoilt of blobs that were whole: readers find them whole again. */
export class Mending implements AsyncDisposable {
  readonly #options: Required<MendingOptions>
  readonly #wounds = new Map<string, Wound>()
  readonly #closing = new AbortController()
  #working: Promise<void> | undefined
  #cancelWake: (() => void) | undefined

  constructor(options: MendingOptions) {
    this.#options = { clock: SYSTEM_CLOCK, ...options }
  }

  /** A blob may have lost pieces: looks after it, if it was whole. */
  mend(digest: Digest): void {
    const key = digest.toString()
    if (this.#wounds.has(key) || this.#wounds.size >= MAX_WAITING) return
    this.#wounds.set(key, { digest, tries: 0, dueAt: this.#options.clock.now() })
    this.#wake()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new ShoalError('NODE_CLOSED', 'the node is closing'))
    this.#cancelWake?.()
    await this.#working
  }

  #wake(): void {
    this.#cancelWake?.()
    this.#working ??= this.#work().finally(() => {
      this.#working = undefined
      this.#sleep()
    })
  }

  #sleep(): void {
    if (this.#closing.signal.aborted || this.#wounds.size === 0) return
    const { clock } = this.#options
    const next = Math.min(...[...this.#wounds.values()].map(({ dueAt }) => dueAt))
    this.#cancelWake = clock.after(Math.max(0, next - clock.now()), () => this.#wake())
  }

  async #work(): Promise<void> {
    const { clock, log } = this.#options
    const due = () => [...this.#wounds.values()].find(({ dueAt }) => dueAt <= clock.now())
    for (let wound = due(); wound !== undefined && !this.#closing.signal.aborted; wound = due()) {
      const { digest } = wound
      try {
        await this.#mendOne(wound)
        this.#wounds.delete(digest.toString())
      } catch (error) {
        if (this.#closing.signal.aborted) return
        log.info({ digest: String(digest), code: codeOf(error) }, 'what the disk has spoilt could not be brought in anew yet')
        wound.dueAt = clock.now() + FIRST_RETRY_MS * 2 ** wound.tries
        if (++wound.tries >= MAX_TRIES) this.#wounds.delete(digest.toString())
      }
    }
  }

  async #mendOne({ digest, tries }: Wound): Promise<void> {
    const { downloads, log } = this.#options
    const { signal } = this.#closing
    if (!(await this.#isWounded(digest, tries === 0))) return
    await using blob = await downloads.open(digest, { signal })
    await blob.whole({ signal })
    log.info({ digest: String(digest) }, 'what the disk had spoilt was brought in anew')
  }

  /** @param thorough reads all of it: where one piece was spoilt there may be more */
  async #isWounded(digest: Digest, thorough: boolean): Promise<boolean> {
    const { store, onLoss } = this.#options
    const blob = await store.open(digest)
    if (blob === undefined) return false
    await using held = blob
    // what was never whole is nobody's loss
    if (!held.verified) return false
    const before = held.have.count
    for (let index = 0; thorough && index < held.geometry.pieces; index++) {
      this.#closing.signal.throwIfAborted()
      if (held.have.has(index)) await held.recheck(index)
    }
    if (held.have.count < before) onLoss(digest)
    return !held.complete
  }
}
