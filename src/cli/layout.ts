import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Digest } from '../../protocols/digest.ts'
import { ShoalError } from '../../protocols/error.ts'
import type { Descriptor } from './image.ts'
import { writeWholeIn } from './output.ts'

/** An OCI image layout (image spec, "Image Layout") being written: blobs first, the index that names them last. */
export interface Layout {
  write(digest: Digest, content: AsyncIterable<Uint8Array>, options: { signal: AbortSignal }): Promise<void>
  finish(root: Omit<Descriptor, 'platform'>, name: string | undefined): Promise<void>
}

/** @throws ShoalError REQUEST_INVALID when the folder holds something else */
export async function openLayout(dir: string): Promise<Layout> {
  await mkdir(dir, { recursive: true }).catch((cause: unknown) => {
    throw new ShoalError('REQUEST_INVALID', `-o ${dir}: an image needs a folder: ${(cause as Error).message}`, { cause })
  })
  const there = await readdir(dir)
  if (there.length > 0 && !there.includes('oci-layout')) {
    throw new ShoalError('REQUEST_INVALID', `-o ${dir}: the folder holds something that is not an OCI layout`)
  }
  return {
    write(digest, content, options) {
      return writeWholeIn(join(dir, 'blobs', digest.algorithm, digest.hex), content, options)
    },
    async finish({ mediaType, digest, size }, name) {
      const annotations = name === undefined ? {} : { annotations: { 'org.opencontainers.image.ref.name': name } }
      const index = { schemaVersion: 2, manifests: [{ mediaType, digest, size, ...annotations }] }
      await writeFile(join(dir, 'index.json'), `${JSON.stringify(index, undefined, 2)}\n`)
      await writeFile(join(dir, 'oci-layout'), `${JSON.stringify({ imageLayoutVersion: '1.0.0' })}\n`)
    },
  }
}
