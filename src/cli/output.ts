import { randomBytes } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { pipeline } from 'node:stream/promises'

/** Writes a file that appears whole or not at all. */
export async function writeWhole(
  path: string,
  content: AsyncIterable<Uint8Array>,
  options: { signal: AbortSignal },
): Promise<void> {
  const temporary = `${path}.${randomBytes(4).toString('hex')}.part`
  try {
    await pipeline(content, createWriteStream(temporary, { flags: 'wx' }), { signal: options.signal })
    await rename(temporary, path)
  } catch (error) {
    await rm(temporary, { force: true })
    throw error
  }
}

/** The same, in folders that may not be there yet. */
export async function writeWholeIn(
  path: string,
  content: AsyncIterable<Uint8Array>,
  options: { signal: AbortSignal },
): Promise<void> {
  await mkdir(dirname(path), { recursive: true })
  await writeWhole(path, content, options)
}
