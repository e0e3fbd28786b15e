import { WRITE_BYTES } from '../net/channel.ts'

/** Frames kept for reuse, and frames that wait for their peer's word at most: 16 MiB each. More are left to the garbage collector. */
const MAX_FREE = 64
const MAX_UNACKNOWLEDGED = 64
/** A frame smaller than this is not worth keeping. */
const MIN_POOLED_BYTES = 64 * 1024

/** The memory that full-sized frames are built in, over and over: allocating it anew for each costs a tenth of a core in garbage collection. */
export class FramePool {
  readonly #free: Buffer[] = []
  #unacknowledged = 0

  /** A buffer of WRITE_BYTES. */
  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(WRITE_BYTES)
  }

  /** The first `bytes` of a buffer that was taken; few of them are moved to memory of their own, and the buffer is free at once. */
  fit(buffer: Buffer, bytes: number): Uint8Array {
    if (bytes >= MIN_POOLED_BYTES) return buffer.subarray(0, bytes)
    const own = Buffer.allocUnsafe(bytes)
    own.set(buffer.subarray(0, bytes))
    this.give(buffer)
    return own
  }

  /** The frame's memory is free. */
  give(frame: Uint8Array): void {
    if (frame.length < MIN_POOLED_BYTES || this.#free.length >= MAX_FREE) return
    this.#free.push(Buffer.from(frame.buffer, frame.byteOffset, WRITE_BYTES))
  }

  /** The frames of one channel that were sent and may not have arrived. */
  ledger(): SentFrames {
    return new SentFrames(this, (change) => {
      if (this.#unacknowledged + change > MAX_UNACKNOWLEDGED) return false
      this.#unacknowledged += change
      return true
    })
  }
}

/**
 * Frames written to one channel. A channel may hold what it was given long after `write` has resolved (libp2p's Noise keeps plaintext
 * while its socket is full, and nothing tells when it has let go), so their memory is free only when the peer shows that it
 * has got them: by asking under the same id again, which it may only after the whole answer (protocols/piece/SPEC.md).
 */
export class SentFrames {
  readonly #pool: FramePool
  readonly #count: (change: number) => boolean
  readonly #byId = new Map<number, Uint8Array[]>()
  #over = false

  constructor(pool: FramePool, count: (change: number) => boolean) {
    this.#pool = pool
    this.#count = count
  }

  sent(id: number, frame: Uint8Array): void {
    if (this.#over || frame.length < MIN_POOLED_BYTES || !this.#count(1)) return
    const frames = this.#byId.get(id)
    if (frames === undefined) this.#byId.set(id, [frame])
    else frames.push(frame)
  }

  /** The peer asks under this id again. */
  arrived(id: number): void {
    const frames = this.#byId.get(id)
    if (frames === undefined) return
    this.#byId.delete(id)
    this.#count(-frames.length)
    for (const frame of frames) this.#pool.give(frame)
  }

  /** The channel is over, and nothing more will be heard of them: whoever still holds them keeps them. */
  forget(): void {
    this.#over = true
    for (const frames of this.#byId.values()) this.#count(-frames.length)
    this.#byId.clear()
  }
}
