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

/** What one peer has asked for counts as so much of a crowd at most. */
const MOST_OF_CROWD = 1 / 8

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
  /** By peer: each may have several streams. */
  readonly #uploads = new Map<Upload, string>()

  constructor(parts: ServerParts) {
    this.#parts = parts
    this.#slots = new Slots(parts.limits, parts.now)
  }

  /** How busy we are: 0 idle … 255. */
  get load(): number {
    return loadOf(this.#crowdBytes(this.#byPeer(({ owedBytes }) => owedBytes)))
  }

  #byPeer(bytesOf: (upload: Upload) => number): Map<string, number> {
    const bytes = new Map<string, number>()
    for (const [upload, peerId] of this.#uploads) bytes.set(peerId, (bytes.get(peerId) ?? 0) + bytesOf(upload))
    return bytes
  }

  /** The same of all together: one alone that asks for very much makes no crowd. */
  #crowdBytes(queued: ReadonlyMap<string, number>): number {
    let sum = 0
    for (const bytes of queued.values()) sum += Math.min(this.#mostOfOne, bytes)
    return sum
  }

  get #mostOfOne(): number {
    return this.#parts.limits.queuedBytes * MOST_OF_CROWD
  }

  /** Whoever waits long here had better ask somebody else: others come to hold what was rare. Who has asked for too much alone finds it crowded, and others do not. */
  #crowdedFor(peerId: string): boolean {
    const queued = this.#byPeer(({ queuedBytes }) => queuedBytes)
    const { queuedBytes } = this.#parts.limits
    if (this.#crowdBytes(queued) > queuedBytes) return true
    return (queued.get(peerId) ?? 0) > queuedBytes
  }

  /** Serves one data stream until the peer ends it. */
  async serve(channel: Channel): Promise<void> {
    const upload = new Upload(channel, {
      ...this.#parts,
      slots: this.#slots,
      frames: this.#frames,
      load: () => this.load,
      crowded: () => this.#crowdedFor(channel.peerId),
    })
    this.#uploads.set(upload, channel.peerId)
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
    for (const upload of this.#uploads.keys()) upload.tick(now)
  }

  abort(reason: Error): void {
    for (const upload of this.#uploads.keys()) upload.abort(reason)
  }
}
