import { type Digest, parseDigest } from '../../protocols/digest.ts'
import { ShoalError } from '../../protocols/error.ts'
import { parseReference } from '../../protocols/reference.ts'
import { type BlobAddress, bringBlob, readBlob } from './blob.ts'
import { formatBytes, formatMs } from './format.ts'
import { openLayout } from './layout.ts'
import { writeWhole } from './output.ts'
import { hostPlatform, type Platform, parsePlatform } from './platform.ts'
import { pullImage } from './pull.ts'
import type { Session, Streams } from './session.ts'

export interface GetOptions {
  readonly output?: string
  readonly digest?: string
  readonly origin?: string
  readonly platform?: string
  readonly allPlatforms?: boolean
}

/** What the argument of `shoal get` means. */
export type Target =
  | { readonly type: 'blob'; readonly digest: Digest; readonly origin: string | undefined }
  | { readonly type: 'image'; readonly reference: string; readonly platform: Platform | undefined }

/** @throws ShoalError DIGEST_INVALID, REFERENCE_INVALID, REQUEST_INVALID */
export function parseTarget(text: string, options: GetOptions): Target {
  const { digest, origin } = options
  const imageOnly = options.platform !== undefined || options.allPlatforms === true
  const isUrl = /^[a-z][a-z0-9+.-]*:\/\//i.test(text)
  if (isUrl || /^sha(256|512):/.test(text)) {
    if (imageOnly) throw new ShoalError('REQUEST_INVALID', '--platform and --all-platforms are for images')
    if (!isUrl) return { type: 'blob', digest: parseDigest(text), origin }
    if (!/^https?:/i.test(text) || !URL.canParse(text))
      throw new ShoalError('REQUEST_INVALID', `not an http or https URL: ${text.slice(0, 300)}`)
    if (digest === undefined) throw new ShoalError('REQUEST_INVALID', 'a URL needs --digest: it says what the content must be')
    return { type: 'blob', digest: parseDigest(digest), origin: text }
  }
  parseReference(text)
  if (digest !== undefined) throw new ShoalError('REQUEST_INVALID', '--digest is for URLs; write an image as name@digest')
  if (origin !== undefined) throw new ShoalError('REQUEST_INVALID', '--origin is for digests; an image names its registry itself')
  if (options.platform !== undefined && options.allPlatforms === true) {
    throw new ShoalError('REQUEST_INVALID', '--platform and --all-platforms exclude each other')
  }
  const platform = options.platform === undefined ? hostPlatform() : parsePlatform(options.platform)
  return { type: 'image', reference: text, platform: options.allPlatforms === true ? undefined : platform }
}

export async function get(text: string, options: GetOptions, session: Session, streams: Streams): Promise<void> {
  const target = parseTarget(text, options)
  if (options.output === '-' && session.json) throw new ShoalError('REQUEST_INVALID', '--json and -o - both want stdout')
  const beganAt = performance.now()
  const took = (): string => formatMs(performance.now() - beganAt)
  if (target.type === 'image') {
    if (options.output === '-') throw new ShoalError('REQUEST_INVALID', 'an image is many files: -o needs a folder')
    const layout = options.output === undefined ? undefined : await openLayout(options.output)
    const image = await pullImage(session.client, target.reference, { ...session, platform: target.platform, layout })
    const bytes = image.blobs.reduce((sum, blob) => sum + blob.size, 0)
    const summary = `${image.reference}\n${image.digest}\n${image.blobs.length} blobs, ${formatBytes(bytes)}, verified, in ${took()}\n`
    session.print({ ...image, sizeBytes: bytes, output: options.output }, summary)
    return
  }
  const size = await getBlob(target, options.output, session, streams)
  if (options.output !== '-') {
    const { digest } = target
    session.print({ digest, size, output: options.output }, `${digest}  ${formatBytes(size)}, verified, in ${took()}\n`)
  }
}

/** @returns its size in bytes */
async function getBlob(blob: BlobAddress, output: string | undefined, session: Session, streams: Streams): Promise<number> {
  const bar = session.progress.bar(`${blob.digest.algorithm}:${blob.digest.hex.slice(0, 12)}`)
  let size = 0
  const follow = {
    signal: session.signal,
    onProgress({ doneBytes, totalBytes }: { doneBytes: number; totalBytes: number }) {
      size = totalBytes
      bar.update(doneBytes, totalBytes)
    },
  }
  if (output === undefined) size = (await bringBlob(session.client, blob, follow)).size
  else if (output === '-') await writeTo(streams.stdout, readBlob(session.client, blob, follow))
  else await writeWhole(output, readBlob(session.client, blob, follow), session)
  bar.end()
  return size
}

async function writeTo(stream: NodeJS.WritableStream, content: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const part of content) {
    await new Promise<void>((resolve, reject) => {
      stream.write(part, (error) => (error == null ? resolve() : reject(error)))
    })
  }
}
