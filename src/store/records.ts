import { type Digest, parseDigest } from '../../protocols/digest.ts'
import { HASH_BYTES } from './held.ts'
import type { BlobMeta, TagRecord } from './store.ts'

/** What the catalog's keys and values look like: DESIGN.md. Pure. */

export const GROUP_PIECES = 64
const MASK_BYTES = GROUP_PIECES / 8

export interface BlobRecord {
  readonly size: number
  readonly heldBytes: number
  readonly verified: boolean
  readonly meta: BlobMeta
  readonly storedAt: number
  /** The unclean-stop epoch in which all of its pieces were last known to be right. */
  readonly epoch: number
  /** For a blob kept whole in the catalog: the SHA-256 of its bytes, in hex. */
  readonly inline?: string | undefined
}

export interface StateRecord {
  readonly format: 1
  readonly epoch: number
  readonly clean: boolean
  /** Files without a record may be left from an unclean stop. */
  readonly unswept: boolean
}

export const STATE_KEY = 'state'
export const BLOB_KEYS = Object.freeze({ gt: 'blob!', lt: 'blob"' })
export const TAG_KEYS = Object.freeze({ gt: 'tag!', lt: 'tag"' })

export const blobKey = (digest: Digest): string => `blob!${digest}`
export const bytesKey = (digest: Digest): string => `bytes!${digest}`
export const pieceKey = (digest: Digest, group: number): string => `piece!${digest}!${group.toString(16).padStart(4, '0')}`
export const tagKey = (name: string): string => `tag!${name}`

export const digestOfKey = (key: string): Digest => parseDigest(key.slice(BLOB_KEYS.gt.length))
export const nameOfKey = (key: string): string => key.slice(TAG_KEYS.gt.length)
export const groupsOf = (pieces: number): number => Math.ceil(pieces / GROUP_PIECES)

export function encodeJson(record: BlobRecord | StateRecord | StoredTag): Buffer {
  return Buffer.from(JSON.stringify(record))
}

/** @returns `undefined` for what does not parse: Level has checksums, so that is a record of nothing */
export function decodeBlob(value: Uint8Array): BlobRecord | undefined {
  const record = parse(value) as BlobRecord | undefined
  const sound =
    record !== undefined &&
    Number.isSafeInteger(record.size) &&
    Number.isSafeInteger(record.heldBytes) &&
    typeof record.verified === 'boolean' &&
    typeof record.meta === 'object'
  return sound ? record : undefined
}

export function decodeState(value: Uint8Array): (Omit<StateRecord, 'format'> & { readonly format: number }) | undefined {
  const record = parse(value) as StateRecord | undefined
  return Number.isSafeInteger(record?.epoch) ? record : undefined
}

/** A tag's record, and its place in the order of age. */
export interface StoredTag extends Omit<TagRecord, 'digest'> {
  readonly digest: string
  readonly order: number
}

export function decodeTag(value: Uint8Array): { record: TagRecord; order: number } | undefined {
  const stored = parse(value) as StoredTag | undefined
  if (stored === undefined) return undefined
  const { order, digest, ...rest } = stored
  try {
    return { record: { ...rest, digest: parseDigest(digest) }, order }
  } catch {
    return undefined
  }
}

/** One group of a blob's pieces: which are held, and the hashes that are known. */
export function encodeGroup(group: number, isHeld: (index: number) => boolean, hashTable: Uint8Array): Buffer {
  const first = group * GROUP_PIECES
  const hashes = hashTable.subarray(first * HASH_BYTES, (first + GROUP_PIECES) * HASH_BYTES)
  const value = Buffer.alloc(MASK_BYTES + hashes.length)
  for (let i = 0; i < hashes.length / HASH_BYTES; i++) {
    if (isHeld(first + i)) value[i >> 3] = (value[i >> 3] as number) | (0x80 >> (i & 7))
  }
  value.set(hashes, MASK_BYTES)
  return value
}

/** Calls back for each piece of the group whose hash is known. */
export function decodeGroup(
  group: number,
  value: Uint8Array,
  pieces: number,
  each: (index: number, hash: Uint8Array, held: boolean) => void,
): void {
  const first = group * GROUP_PIECES
  const count = Math.min(GROUP_PIECES, pieces - first)
  if (value.length !== MASK_BYTES + count * HASH_BYTES) return
  for (let i = 0; i < count; i++) {
    const hash = value.subarray(MASK_BYTES + i * HASH_BYTES, MASK_BYTES + (i + 1) * HASH_BYTES)
    if (hash.every((byte) => byte === 0)) continue
    each(first + i, hash, ((value[i >> 3] as number) & (0x80 >> (i & 7))) !== 0)
  }
}

function parse(value: Uint8Array): unknown {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(value.buffer, value.byteOffset, value.length).toString())
    return typeof parsed === 'object' && parsed !== null ? parsed : undefined
  } catch {
    return undefined
  }
}
