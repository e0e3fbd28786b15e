import { encodeClaim } from '../protocols/claim/codec.ts'
import type { Ban } from './download/bans.ts'
import { ShoalError } from './errors.ts'
import type { BanInfo } from './shoal-node.ts'

const DEFAULT_BAN_MS = 24 * 60 * 60 * 1000
const MAX_BAN_MS = 10 * 365 * DEFAULT_BAN_MS
const MAX_REASON_CHARACTERS = 200

/** A ban as the node's callers see it. */
export function banInfo({ peerId, reason, by, since, until, evidence }: Ban): BanInfo {
  return {
    peerId,
    reason,
    by,
    since: new Date(since).toISOString(),
    until: new Date(until).toISOString(),
    evidence: evidence.map((claim) => ({
      kind: claim.kind,
      digest: claim.digest,
      size: claim.size,
      first: claim.first,
      pieces: claim.hashes.length,
      statement: Buffer.from(encodeClaim(claim)).toString('base64'),
    })),
  }
}

/** What an operator orders, with what goes without saying. @throws ShoalError REQUEST_INVALID */
export function checkBan(
  peerId: string,
  selfId: string,
  { reason = 'by hand', forMs = DEFAULT_BAN_MS }: { reason?: string; forMs?: number },
): { reason: string; forMs: number } {
  if (peerId === selfId) throw new ShoalError('REQUEST_INVALID', 'that is this node itself')
  if (!Number.isFinite(forMs) || forMs <= 0 || forMs > MAX_BAN_MS)
    throw new ShoalError('REQUEST_INVALID', 'a ban is for more than no time and at most ten years')
  if (reason.length > MAX_REASON_CHARACTERS)
    throw new ShoalError('REQUEST_INVALID', `a reason has at most ${MAX_REASON_CHARACTERS} characters`)
  return { reason, forMs }
}
