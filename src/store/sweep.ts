import type { Dirent } from 'node:fs'
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DIGEST_ALGORITHMS, type Digest, parseDigest } from '../../protocols/digest.ts'

/** Names in a directory; none when it is not there. */
async function names(path: string): Promise<Dirent[]> {
  return readdir(path, { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
}

/** Files that look like blobs. What else is there is not ours to touch. */
async function* blobFiles(root: string): AsyncIterable<Digest> {
  for (const algorithm of Object.keys(DIGEST_ALGORITHMS)) {
    for (const prefix of await names(join(root, 'blobs', algorithm))) {
      if (!prefix.isDirectory()) continue
      for (const file of await names(join(root, 'blobs', algorithm, prefix.name))) {
        const digest = file.isFile() ? digestNamed(algorithm, file.name) : undefined
        if (digest !== undefined) yield digest
      }
    }
  }
}

function digestNamed(algorithm: string, name: string): Digest | undefined {
  try {
    return parseDigest(`${algorithm}:${name}`)
  } catch {
    return undefined
  }
}

/** After an unclean stop: looks for files that the catalog does not know. @param removeUnknown decides, and removes */
export async function sweep(
  root: string,
  removeUnknown: (digest: Digest) => Promise<boolean>,
  options: { signal: AbortSignal },
): Promise<number> {
  let removed = 0
  for await (const digest of blobFiles(root)) {
    if (options.signal.aborted) break
    if (await removeUnknown(digest)) removed++
  }
  return removed
}

/** Removes what another run left in the spool. @param left the names found before this run made any */
export async function emptySpool(directory: string, left: readonly string[]): Promise<void> {
  for (const name of left) await rm(join(directory, name), { force: true, recursive: true })
}
