import { parseDigest } from '../../protocols/digest.ts'
import { codeOf } from '../../protocols/error.ts'
import type { Session } from './session.ts'

/** `shoal rm DIGEST…`: all that are held go, and the first that is not makes it fail in the end. */
export async function rm(texts: readonly string[], session: Session): Promise<void> {
  const removed: string[] = []
  let missing: unknown
  for (const digest of texts.map(parseDigest)) {
    try {
      const res = await session.client.request('DELETE', `/v1/blobs/${digest}`, { signal: session.signal })
      res.resume()
      removed.push(String(digest))
      if (!session.json) session.print(undefined, `${digest}\n`)
    } catch (error) {
      if (codeOf(error) !== 'BLOB_UNKNOWN') throw error
      missing ??= error
    }
  }
  if (session.json) session.print({ removed }, '')
  if (missing !== undefined) throw missing
}
