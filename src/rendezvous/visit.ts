import type { Digest } from '../../protocols/digest.ts'
import { isMemberMessage, type RendezvousMessage } from '../../protocols/rendezvous/codec.ts'
import { MAX_MEMBER_MESSAGE_BYTES, MAX_WAIT_MS } from '../../protocols/rendezvous/limits.ts'
import type { Clock } from '../clock.ts'
import { ShoalError } from '../errors.ts'
import { Allowance } from '../net/allowance.ts'
import type { Channel } from '../net/channel.ts'
import type { Office, Visitor } from './office.ts'
import { Wire } from './wire.ts'

/** Every piece of a fast import is a message; more than this is a flood. */
const MESSAGES = Object.freeze({ burst: 5_000, everyMs: 0.2 })
/** What costs more: whoever asks faster is told to wait, whoever registers faster is left. */
const ASKS = Object.freeze({ burst: 500, everyMs: 10 })
const REGISTRATIONS = Object.freeze({ burst: 1_000, everyMs: 20 })
const SLOW_DOWN_MS = 1_000
/** Blobs that one peer may attend for at a time. */
const MAX_DIGESTS = 1_024
/** A peer that comes back at once has lost nothing. */
const GRACE_MS = 250

/** Serves one peer that has come to this node's office, until its stream ends. */
export async function serveVisit(channel: Channel, office: Office, clock: Clock): Promise<void> {
  const wire = new Wire(channel)
  const visitor: Visitor = { peerId: channel.peerId, tell: (message) => wire.say(message) }
  const digests = new Map<string, Digest>()
  const messages = new Allowance(MESSAGES, clock.now())
  const asks = new Allowance(ASKS, clock.now())
  const registrations = new Allowance(REGISTRATIONS, clock.now())

  const attend = (digest: Digest) => {
    const key = digest.toString()
    if (digests.has(key)) return
    if (!registrations.take(clock.now())) throw new ShoalError('PEER_BUSY', 'too many registrations')
    digests.set(key, digest)
    if (digests.size <= MAX_DIGESTS) return
    const [oldKey, old] = digests.entries().next().value as [string, Digest]
    digests.delete(oldKey)
    office.leave(visitor, old)
  }

  const hear = (message: RendezvousMessage) => {
    if (!isMemberMessage(message)) throw new ShoalError('MESSAGE_MALFORMED', `a "${message.type}" message from a member`)
    if (!messages.take(clock.now())) throw new ShoalError('PEER_BUSY', 'too many messages')
    const { type, digest } = message
    if (type === 'ask' && !asks.take(clock.now())) {
      visitor.tell({ type: 'wait', digest, request: message.request, retryMs: Math.min(MAX_WAIT_MS, SLOW_DOWN_MS) })
      return
    }
    if (type === 'register' || type === 'ask') attend(digest)
    if (type === 'unregister' && !message.complete) digests.delete(digest.toString())
    office.hear(visitor, message)
  }

  try {
    await wire.listen(MAX_MEMBER_MESSAGE_BYTES, hear)
  } finally {
    clock.after(GRACE_MS, () => {
      for (const digest of digests.values()) office.leave(visitor, digest)
    })
  }
}
