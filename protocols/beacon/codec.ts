import type { Digest } from '../digest.ts'
import type { ZoneLabel } from '../zone.ts'

/** A node's sign of life on its zone's topic; gossipsub signs it (StrictSign), `author` is whom it proved to be from. */
export interface Beacon {
  readonly type: 'beacon'
  readonly label: ZoneLabel
  /** Multiaddrs in text form. */
  readonly addresses: readonly string[]
  readonly roles: readonly string[]
  /** 0 idle … 255. */
  readonly load: number
  readonly version: string
  /** Milliseconds since the epoch at which the node started: a restart is seen by it. */
  readonly startedAt: number
  /** Counts up with each beacon of one start. */
  readonly sequence: number
}

/** Blobs that the author has come to hold completely (`added`) or holds no longer (`removed`), batched. */
export interface HolderNews {
  readonly type: 'news'
  readonly addresses: readonly string[]
  readonly added: readonly Digest[]
  readonly removed: readonly Digest[]
}

export type ZoneMessage = Beacon | HolderNews
