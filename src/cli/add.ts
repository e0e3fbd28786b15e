import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { ShoalError } from '../../protocols/error.ts'
import { formatBytes, printable } from './format.ts'
import type { Session } from './session.ts'

interface Added {
  readonly digest: string
  readonly size: number
}

/** `shoal add FILE…`, `-` being stdin. */
export async function add(files: readonly string[], options: { mediaType?: string }, session: Session): Promise<void> {
  const added: (Added & { path: string })[] = []
  for (const path of files) {
    const totalBytes = path === '-' ? undefined : await sizeOf(path)
    const bar = session.progress.bar(path)
    const source = path === '-' ? process.stdin : createReadStream(path, { highWaterMark: 256 * 1024 })
    const { digest, size } = await session.client.json<Added>('POST', '/v1/blobs', {
      signal: session.signal,
      query: { mediaType: options.mediaType },
      body: counted(source, (doneBytes) => bar.update(doneBytes, totalBytes)),
    })
    bar.end()
    added.push({ path, digest, size })
    if (!session.json) session.print(undefined, `${digest}  ${formatBytes(size)}  ${printable(path)}\n`)
  }
  if (session.json) session.print(added, '')
}

async function sizeOf(path: string): Promise<number | undefined> {
  const info = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    throw new ShoalError('REQUEST_INVALID', `can't read ${path}: ${cause.code === 'ENOENT' ? 'no such file' : cause.code}`, {
      cause,
    })
  })
  if (info.isDirectory()) throw new ShoalError('REQUEST_INVALID', `${path} is a folder: give its files`)
  return info.isFile() ? info.size : undefined
}

async function* counted(source: AsyncIterable<Uint8Array>, onBytes: (bytes: number) => void): AsyncIterable<Uint8Array> {
  let bytes = 0
  for await (const part of source) {
    yield part
    bytes += part.length
    onBytes(bytes)
  }
}
