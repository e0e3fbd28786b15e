import { parsePeerId } from '../../protocols/peer-id.ts'
import type { BanInfo } from '../node.ts'
import { parseDuration } from './duration.ts'
import { printable } from './format.ts'
import type { Session } from './session.ts'

export interface BanOptions {
  readonly for?: string
  readonly reason?: string
}

/** `shoal ban PEER`. */
export async function ban(text: string, options: BanOptions, session: Session): Promise<void> {
  const forMs = options.for === undefined ? undefined : String(parseDuration(options.for))
  const answer = await session.client.json<BanInfo>('PUT', `/v1/bans/${parsePeerId(text)}`, {
    signal: session.signal,
    query: { forMs, reason: options.reason },
  })
  session.print(answer, `${answer.peerId}  banned until ${answer.until.slice(0, 19)}Z: ${printable(answer.reason)}\n`)
}
