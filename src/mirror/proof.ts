import { createHash } from 'node:crypto'
import type { Digest } from '../../protocols/digest.ts'
import { MAX_BLOB_BYTES } from '../../protocols/pieces.ts'
import { ShoalError } from '../errors.ts'
import type { RegistrySource } from './access.ts'
import type { MirrorBackend } from './mirror.ts'

/**
 * Reads a blob that is held as another registry's private content from this registry too, and throws the bytes away: that they
 * hash to the digest proves that whoever asked could have had them there. Rare: a layer that came first in a private image and
 * is asked for again under a public name.
 * @throws ShoalError as Origin.open; DIGEST_MISMATCH
 */
export async function proveOrigin(
  backend: MirrorBackend,
  source: RegistrySource,
  digest: Digest,
  options: { signal: AbortSignal },
): Promise<void> {
  const maxBytes = (await backend.stat(digest))?.size ?? MAX_BLOB_BYTES
  const body = await backend.origin.open(source, digest, { start: 0 }, options)
  try {
    const hash = createHash(digest.algorithm)
    let bytes = 0
    for await (const chunk of body.body) {
      options.signal.throwIfAborted()
      hash.update(chunk)
      bytes += chunk.length
      if (bytes > maxBytes) break
    }
    if (hash.digest('hex') === digest.hex) return
    throw new ShoalError('DIGEST_MISMATCH', `${source.registry} gives other bytes than ${digest}`)
  } finally {
    body.cancel()
  }
}
