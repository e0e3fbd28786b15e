import { join } from 'node:path'
import type { Digest } from '../../protocols/digest.ts'
import { geometryOf } from '../../protocols/pieces.ts'
import { BlobFile } from './blob-file.ts'
import { type DiskParts, Entry } from './entry.ts'
import { HELD, Held, SUSPECT } from './held.ts'
import { type BlobRecord, decodeGroup, groupsOf } from './records.ts'

/** Blobs up to this size live whole in the catalog. */
export const INLINE_BYTES = 64 * 1024

/** Where a blob's bytes are: a directory of a few hundred files each, for what filesystems there are. */
export function blobPath(root: string, digest: Digest): string {
  return join(root, 'blobs', digest.algorithm, digest.hex.slice(0, 2), digest.hex)
}

/** A blob of which nothing is held yet. */
export function newEntry(root: string, digest: Digest, size: number, parts: DiskParts): Entry {
  const held = new Held(digest, geometryOf(size), Date.now())
  const file = new BlobFile(blobPath(root, digest))
  return new Entry(held, file, parts, { inline: size <= INLINE_BYTES, epoch: parts.catalog.epoch })
}

/** A blob as the catalog has it, or `undefined`. */
export async function loadEntry(root: string, digest: Digest, parts: DiskParts): Promise<Entry | undefined> {
  const record = await parts.catalog.blob(digest)
  if (record === undefined) return undefined
  const held = new Held(digest, geometryOf(record.size), record.storedAt)
  held.meta = record.meta
  held.verified = record.verified
  if (record.inline === undefined) await loadPieces(held, record, parts)
  else if (record.heldBytes > 0) held.add(0, Buffer.from(record.inline, 'hex'))
  const file = new BlobFile(blobPath(root, digest))
  const entry = new Entry(held, file, parts, { inline: record.inline !== undefined, epoch: record.epoch })
  parts.usage.expect(entry, record)
  return entry
}

async function loadPieces(held: Held, record: BlobRecord, { catalog }: DiskParts): Promise<void> {
  const { pieces } = held.geometry
  const flag = record.epoch === catalog.epoch ? HELD : SUSPECT
  const groups = await catalog.groups(held.digest, groupsOf(pieces))
  for (const [group, value] of groups.entries()) {
    if (value === undefined) continue
    decodeGroup(group, value, pieces, (index, hash, isHeld) => {
      if (isHeld) held.add(index, hash, flag)
      else if (record.verified) held.learn(index, hash)
    })
  }
  // A record that outlived those of its pieces (power loss) no longer says what they must be.
  if (held.verified && !held.knowsAll) held.verified = false
}
