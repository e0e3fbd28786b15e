import { codeOf } from '../../protocols/error.ts'
import { parsePeerId } from '../../protocols/peer-id.ts'
import type { Session } from './session.ts'

/** `shoal unban PEER…`: all bans that there are go, and the first that there is not makes it fail in the end. */
export async function unban(texts: readonly string[], session: Session): Promise<void> {
  const lifted: string[] = []
  let missing: unknown
  for (const peerId of texts.map(parsePeerId)) {
    try {
      const res = await session.client.request('DELETE', `/v1/bans/${peerId}`, { signal: session.signal })
      res.resume()
      lifted.push(peerId)
      if (!session.json) session.print(undefined, `${peerId}\n`)
    } catch (error) {
      if (codeOf(error) !== 'PEER_NOT_BANNED') throw error
      missing ??= error
    }
  }
  if (session.json) session.print({ lifted }, '')
  if (missing !== undefined) throw missing
}
