import { formatBytes, formatTable, printable } from './format.ts'
import type { Session } from './session.ts'

interface Held {
  readonly digest: string
  readonly size: number
  readonly complete: boolean
  readonly heldBytes: number
  readonly mediaType?: string
  readonly storedAt: string
}

/** `shoal ls`: what the node holds. */
export async function ls(session: Session): Promise<void> {
  const { blobs } = await session.client.json<{ blobs: Held[] }>('GET', '/v1/blobs', { signal: session.signal })
  const rows = blobs.map((blob) => [
    blob.digest,
    formatBytes(blob.size),
    share(blob),
    blob.storedAt.slice(0, 19),
    printable(blob.mediaType ?? ''),
  ])
  session.print(
    blobs,
    blobs.length === 0 ? 'nothing is held here\n' : formatTable(['DIGEST', 'SIZE', 'HELD', 'STORED (UTC)', 'TYPE'], rows),
  )
}

function share({ complete, heldBytes, size }: Held): string {
  return complete ? 'all' : `${size === 0 ? 0 : Math.floor((heldBytes / size) * 100)} %`
}
