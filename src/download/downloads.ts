import type { Digest } from '../../protocols/digest.ts'
import { ShoalError } from '../errors.ts'
import type { BlobMeta } from '../store/store.ts'
import { Downlink } from '../transfer/downlink.ts'
import type { DownloadProgress, Downloads, OpenBlob, OpenOptions } from './download.ts'
import type { Incoming } from './incoming.ts'
import { OpenedBlob } from './opened-blob.ts'
import type { Parts, SharedParts } from './parts.ts'
import { Proven } from './proven.ts'
import { Session } from './session.ts'
import { Spare } from './spare.ts'

/** All downloads of a node: at most one for each digest. */
export class NodeDownloads implements Downloads {
  readonly #parts: SharedParts
  readonly #sessions = new Map<string, Session>()
  readonly #unsubscribe: () => void
  #closed = false

  constructor(parts: Parts) {
    this.#parts = { ...parts, downlink: new Downlink(), spare: new Spare(), proven: new Proven() }
    this.#unsubscribe = parts.bans.onBan(({ peerId }) => this.#distrust(peerId))
  }

  async open(digest: Digest, options: OpenOptions): Promise<OpenBlob> {
    if (this.#closed) throw new ShoalError('NODE_CLOSED', 'the node is closing')
    options.signal.throwIfAborted()
    const heal = async (signal: AbortSignal) => {
      const session = this.#join(digest, options)
      try {
        await session.geometry(signal)
        return session
      } catch (error) {
        session.letGo()
        throw error
      }
    }
    const running = this.#running(digest)
    if (running === undefined) {
      const stored = await this.#parts.store.open(digest)
      if (stored?.complete) return new OpenedBlob(digest, stored.geometry, { stored, session: undefined }, heal)
      await stored?.[Symbol.asyncDispose]()
    }
    const session = this.#join(digest, options)
    try {
      const geometry = await session.geometry(options.signal)
      return new OpenedBlob(digest, geometry, { stored: undefined, session }, heal)
    } catch (error) {
      session.letGo()
      throw error
    }
  }

  /** What is known of the content of a download under way, before it is stored. */
  active(digest: Digest): BlobMeta | undefined {
    return this.#running(digest)?.meta
  }

  incoming(digest: Digest): Incoming | undefined {
    return this.#running(digest)?.incoming
  }

  progress(): readonly DownloadProgress[] {
    return [...this.#sessions.values()].map((session) => session.progress())
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    this.#unsubscribe()
    await Promise.all([...this.#sessions.values()].map((session) => session.close()))
  }

  /** Who was caught about one blob is not believed about another. */
  #distrust(peerId: string): void {
    this.#parts.proven.delete(peerId)
    for (const session of this.#sessions.values()) session.incoming?.book.suspect(peerId)
  }

  #running(digest: Digest): Session | undefined {
    const session = this.#sessions.get(String(digest))
    return session?.over ? undefined : session
  }

  #join(digest: Digest, { origin = [], meta = {} }: OpenOptions): Session {
    let session = this.#running(digest)
    if (session === undefined) {
      const previous = this.#sessions.get(String(digest))
      const created: Session = new Session(digest, meta, this.#parts, previous?.ended ?? Promise.resolve(), () => {
        if (this.#sessions.get(String(digest)) === created) this.#sessions.delete(String(digest))
      })
      session = created
      this.#sessions.set(String(digest), session)
    }
    session.hold(Array.isArray(origin) ? origin : [origin])
    return session
  }
}
