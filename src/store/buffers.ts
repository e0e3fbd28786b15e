import { MAX_PIECE_BYTES } from '../../protocols/pieces.ts'
import type { PieceBuffer } from './store.ts'

const UNIT_BYTES = 64 * 1024

/** A stretch of shared memory, handed out in runs of units. */
class Slab {
  readonly memory: SharedArrayBuffer
  readonly #taken: Uint8Array
  free: number

  constructor(bytes: number) {
    this.memory = new SharedArrayBuffer(bytes)
    this.free = bytes / UNIT_BYTES
    this.#taken = new Uint8Array(this.free)
  }

  get idle(): boolean {
    return this.free === this.#taken.length
  }

  /** The first run that is long enough: low addresses are used again and again, so that few pages are ever touched. */
  take(units: number): number | undefined {
    if (this.free < units) return undefined
    for (let at = 0, run = 0; at < this.#taken.length; at++) {
      run = this.#taken[at] === 0 ? run + 1 : 0
      if (run < units) continue
      const first = at - units + 1
      this.#taken.fill(1, first, first + units)
      this.free -= units
      return first
    }
    return undefined
  }

  give(first: number, units: number): void {
    this.#taken.fill(0, first, first + units)
    this.free += units
  }
}

interface Waiter {
  readonly length: number
  readonly resolve: (buffer: PieceBuffer) => void
}

/**
 * All memory that pieces pass through: bounded, made when first needed, shared with the disk thread so that nothing is copied.
 * Who finds it spent waits, first come first served.
 */
export class BufferPool {
  readonly totalBytes: number
  readonly #slabBytes: number
  readonly #idleMs: number
  #slabs: Slab[] = []
  #waiters: Waiter[] = []
  #trim: NodeJS.Timeout | undefined
  #usedBytes = 0

  constructor(options: { totalBytes: number; idleMs: number }) {
    this.totalBytes = Math.floor(options.totalBytes / UNIT_BYTES) * UNIT_BYTES
    this.#slabBytes = Math.min(MAX_PIECE_BYTES, this.totalBytes)
    this.#idleMs = options.idleMs
  }

  /** Bytes handed out and not given back, in whole units. */
  get usedBytes(): number {
    return this.#usedBytes
  }

  /** Bytes of memory made, used or not: never over `totalBytes`. */
  get madeBytes(): number {
    return this.#slabs.length * this.#slabBytes
  }

  get waiting(): number {
    return this.#waiters.length
  }

  /** A buffer of exactly this length; waits when the pool is spent. Its contents are whatever was there. */
  async get(length: number, options: { signal: AbortSignal }): Promise<PieceBuffer> {
    options.signal.throwIfAborted()
    if (length > this.#slabBytes) throw new TypeError(`a buffer of ${length} bytes is over the pool's ${this.#slabBytes}`)
    const buffer = this.#waiters.length === 0 ? this.#take(length) : undefined
    return buffer ?? this.#wait(length, options.signal)
  }

  #wait(length: number, signal: AbortSignal): Promise<PieceBuffer> {
    const { promise, resolve, reject } = Promise.withResolvers<PieceBuffer>()
    const onAbort = () => {
      this.#waiters = this.#waiters.filter((each) => each !== waiter)
      reject(signal.reason)
      this.#serve()
    }
    const waiter: Waiter = {
      length,
      resolve: (buffer) => {
        signal.removeEventListener('abort', onAbort)
        resolve(buffer)
      },
    }
    signal.addEventListener('abort', onAbort, { once: true })
    this.#waiters.push(waiter)
    return promise
  }

  #take(length: number): PieceBuffer | undefined {
    const units = Math.ceil(length / UNIT_BYTES)
    for (const slab of this.#slabs) {
      const first = slab.take(units)
      if (first !== undefined) return this.#lend(slab, first, units, length)
    }
    if (this.madeBytes + this.#slabBytes > this.totalBytes) return undefined
    this.#slabs.push(new Slab(this.#slabBytes))
    return this.#take(length)
  }

  #lend(slab: Slab, first: number, units: number, length: number): PieceBuffer {
    let lent = true
    this.#usedBytes += units * UNIT_BYTES
    clearTimeout(this.#trim)
    return {
      bytes: new Uint8Array(slab.memory, first * UNIT_BYTES, length),
      release: () => {
        if (!lent) return
        lent = false
        slab.give(first, units)
        this.#usedBytes -= units * UNIT_BYTES
        this.#serve()
        if (this.#usedBytes === 0) this.#trimLater()
      },
    }
  }

  #serve(): void {
    for (let next = this.#waiters[0]; next !== undefined; next = this.#waiters[0]) {
      const buffer = this.#take(next.length)
      if (buffer === undefined) return
      this.#waiters.shift()
      next.resolve(buffer)
    }
  }

  #trimLater(): void {
    clearTimeout(this.#trim)
    this.#trim = setTimeout(() => {
      this.#slabs = this.#slabs.filter((slab) => !slab.idle)
    }, this.#idleMs).unref()
  }
}
