import type { DigestAlgorithm } from '../../protocols/digest.ts'
import type { Geometry } from '../../protocols/pieces.ts'
import type { IoFailure } from './failures.ts'

/** What the event loop and the disk thread say to each other. Views of shared memory cross without a copy; descriptors are the process's. */
export type DiskRequest =
  /** Hash, compare with each of `must`, (a blob of one piece: with the digest too,) write. */
  | {
      readonly op: 'put'
      readonly fd: number
      readonly offset: number
      readonly bytes: Uint8Array
      readonly must: readonly Uint8Array[]
      readonly whole: { readonly algorithm: DigestAlgorithm; readonly hex: string } | undefined
      /** The running digest it belongs to, if there is one. */
      readonly task: number | undefined
      readonly index: number
    }
  /** Read into shared memory and compare. */
  | { readonly op: 'read'; readonly fd: number; readonly offset: number; readonly into: Uint8Array; readonly hash: Uint8Array }
  /** Hash what is in the file. */
  | { readonly op: 'hash'; readonly fd: number; readonly offset: number; readonly length: number }
  /** Begin a blob's running digest. */
  | ({ readonly op: 'begin'; readonly task: number } & DigestTask)
  /** A piece is not what it was: the running digest starts over if it had it. */
  | { readonly op: 'dropped'; readonly task: number; readonly index: number }
  /** The digest of the whole, when it is there. */
  | { readonly op: 'finish'; readonly task: number; readonly hex: string }
  | { readonly op: 'end'; readonly task: number }
  /** Content whose end is not known yet: write at the end, hash. */
  | {
      readonly op: 'append'
      readonly spool: number
      readonly fd: number
      readonly algorithm: DigestAlgorithm
      readonly bytes: Uint8Array
    }
  /** The end of it. */
  | { readonly op: 'seal'; readonly spool: number }

export interface DigestTask {
  readonly fd: number
  readonly geometry: Geometry
  readonly algorithm: DigestAlgorithm
  /** Held.flags and Held.hashTable, shared. */
  readonly flags: Uint8Array
  readonly hashTable: Uint8Array
}

export interface DiskAnswers {
  /** The piece's SHA-256, or that it was refused and not written. */
  readonly put: Uint8Array | 'mismatch'
  /** Whether it is right. */
  readonly read: boolean
  readonly hash: Uint8Array
  readonly begin: undefined
  readonly dropped: undefined
  /** `corrupt`: pieces that read back other than they were written. */
  readonly finish: { readonly matches: boolean; readonly corrupt: readonly number[] } | 'missing'
  readonly end: undefined
  readonly append: undefined
  readonly seal: SealedSpool
}

export interface SealedSpool {
  readonly hex: string
  readonly size: number
  /** Pieces hashed on the way in at the piece size that the final size calls for: from `first` on. */
  readonly first: number
  readonly hashes: readonly Uint8Array[]
}

/** Told without being asked, while the running digest reads back what was held at an unclean stop. */
export type DiskEvent = { readonly event: 'right' | 'wrong'; readonly task: number; readonly index: number }

export type DiskReply = { readonly id: number; readonly answer: unknown } | { readonly id: number; readonly failure: IoFailure }
