import type { Digest } from '../../protocols/digest.ts'
import { createPieceRequestDecoder } from '../../protocols/piece/codec.ts'
import type { Channel } from '../net/channel.ts'
import type { RateLimit } from '../rate-limit.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { FramePool } from './frame-pool.ts'
import type { TransferLimits } from './limits.ts'
import { loadOf } from './load.ts'
import type { Shelf } from './shelf.ts'
import { Slots } from './slots.ts'
import { Upload } from './upload.ts'

export interface ServerParts {
  readonly limits: TransferLimits
  readonly shelf: Shelf
  readonly metrics: Metrics
  readonly log: Log
  readonly now: () => number
  /** What all peers together may be sent. */
  readonly uploadLimit?: RateLimit | undefined
  /** Whether a peer may be given anything. */
  readonly admits: (peerId: string) => boolean
  /** Piece bytes that went out. */
  readonly onServed: (peerId: string, bytes: number) => void
  /** A blob turned out to hold less than we say. */
  readonly onShrunk: (digest: Digest) => void
}

/** Answers the piece requests of all peers. */
export class PieceServer {
  readonly #parts: ServerParts
  readonly #slots: Slots
  readonly #frames = new FramePool()
  readonly #uploads = new Set<Upload>()

  constructor(parts: ServerParts) {
    this.#parts = parts
    this.#slots = new Slots(parts.limits, parts.now)
  }

  /** How busy we are: 0 idle … 255. */
  get load(): number {
    return loadOf(this.#queuedBytes)
  }

  /** What all peers together have asked for and not been sent. */
  get #queuedBytes(): number {
    let queued = 0
    for (const upload of this.#uploads) queued += upload.queuedBytes
    return queued
  }

  /** Serves one data stream until the peer ends it. */
  async serve(channel: Channel): Promise<void> {
    const upload = new Upload(channel, {
      ...this.#parts,
      slots: this.#slots,
      frames: this.#frames,
      load: () => this.load,
      // whoever waits long here had better ask somebody else: others come to hold what was rare
      crowded: () => this.#queuedBytes > this.#parts.limits.queuedBytes,
    })
    this.#uploads.add(upload)
    const decode = createPieceRequestDecoder((request) => upload.accept(request))
    try {
      await channel.read((chunk) => {
        decode.push(chunk)
        return upload.settled()
      })
    } finally {
      this.#uploads.delete(upload)
      upload.end()
    }
  }

  tick(now: number): void {
    for (const upload of this.#uploads) upload.tick(now)
  }

  abort(reason: Error): void {
    for (const upload of this.#uploads) upload.abort(reason)
  }
}
