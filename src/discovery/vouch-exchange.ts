import { createFrameDecoder } from '../../protocols/frame.ts'
import { decodeTagAnswer, encodeTagQuestion, TAG_PROTOCOL, type TagAnswer, type TagQuestion } from '../../protocols/tag/codec.ts'
import { MAX_TAG_MESSAGE_BYTES } from '../../protocols/tag/limits.ts'
import type { Clock } from '../clock.ts'
import { ShoalError } from '../errors.ts'
import type { Channel } from '../net/channel.ts'
import type { Host, PeerRef } from '../net/host.ts'
import { writeOnlyFrame } from '../net/only-frame.ts'

export type KnownTag = Extract<TagAnswer, { readonly known: true }>

/** How long a voucher is waited for, in milliseconds. */
export interface VouchPatience {
  /** For a sign of life: the answer, or that it comes soon. */
  readonly signMs: number
  /** For the answer after that. */
  readonly answerMs: number
}

/** What is older is not known any more. */
const MAX_AGE_MS = 30 * 24 * 60 * 60_000

interface Exchange {
  readonly host: Host
  readonly peer: PeerRef
  readonly clock: Clock
  readonly patience: VouchPatience
  /** Ends the exchange from outside, or when patience does. */
  readonly abort: AbortController
}

/** Asks one peer. @throws ShoalError PEER_TIMEOUT and what the host throws, or the abort's reason */
export async function askForTag(
  question: TagQuestion,
  { host, peer, clock, patience, abort }: Exchange,
): Promise<Exclude<TagAnswer, { readonly known: 'soon' }>> {
  let channel: Channel | undefined
  const late = (ms: number) =>
    clock.after(ms, () => abort.abort(new ShoalError('PEER_TIMEOUT', `${peer.id} did not say in time what a tag means`)))
  let cancel = late(patience.signMs)
  const onAbort = () => channel?.abort(new ShoalError('PEER_TIMEOUT', 'not waited for any longer'))
  abort.signal.addEventListener('abort', onAbort, { once: true })
  try {
    channel = await host.open(peer, TAG_PROTOCOL, { signal: abort.signal })
    abort.signal.throwIfAborted()
    const onSoon = () => {
      cancel()
      cancel = late(patience.answerMs)
    }
    const [answer] = await Promise.all([readAnswer(channel, onSoon), writeOnlyFrame(channel, encodeTagQuestion(question))])
    return answer.known ? { ...answer, ageMs: saneAge(answer.ageMs) } : answer
  } catch (error) {
    channel?.abort(error as Error)
    abort.signal.throwIfAborted()
    throw error
  } finally {
    cancel()
    abort.signal.removeEventListener('abort', onAbort)
  }
}

/** One answer, or that it comes soon and then it. */
async function readAnswer(channel: Channel, onSoon: () => void): Promise<Exclude<TagAnswer, { readonly known: 'soon' }>> {
  let soon = false
  let final: Exclude<TagAnswer, { readonly known: 'soon' }> | undefined
  const decoder = createFrameDecoder(MAX_TAG_MESSAGE_BYTES, (bytes) => {
    const answer = decodeTagAnswer(bytes)
    if (final !== undefined || (soon && answer.known === 'soon'))
      throw new ShoalError('MESSAGE_MALFORMED', 'another answer about a tag after the last')
    if (answer.known !== 'soon') final = answer
    else {
      soon = true
      onSoon()
    }
  })
  await channel.read((chunk) => decoder.push(chunk))
  if (final === undefined) throw new ShoalError('MESSAGE_MALFORMED', 'the stream ended before its message')
  return final
}

/** A whole number from now to a month; what makes no sense is as old as can be. */
export function saneAge(ageMs: number): number {
  return Number.isFinite(ageMs) && ageMs >= 0 ? Math.min(Math.round(ageMs), MAX_AGE_MS) : MAX_AGE_MS
}
