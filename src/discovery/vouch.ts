import {
  decodeTagAnswer,
  decodeTagQuestion,
  encodeTagAnswer,
  encodeTagQuestion,
  TAG_PROTOCOL,
  type TagAnswer,
  type TagQuestion,
} from '../../protocols/tag/codec.ts'
import { MAX_TAG_MESSAGE_BYTES } from '../../protocols/tag/limits.ts'
import { type Clock, SYSTEM_CLOCK } from '../clock.ts'
import { ShoalError } from '../errors.ts'
import type { Channel } from '../net/channel.ts'
import type { Host, PeerRef } from '../net/host.ts'
import { readOnlyFrame, writeOnlyFrame } from '../net/only-frame.ts'
import type { Log } from '../telemetry/log.ts'
import { PeerLimits } from './peer-limits.ts'

const MAX_ASKED = 8
/** Others may know it fresher than the first who answers. */
const AFTER_FIRST_MS = 500
/** A peer that says nothing for so long is not waited for. */
const ANSWER_MS = 2_000
const SERVE_MS = 5_000
const MAX_LOOKUPS = 64
const STREAMS_PER_PEER = 8
const PER_PEER = Object.freeze({ burst: 50, refillMs: 50 })
/** What is older is not known any more. */
const MAX_AGE_MS = 30 * 24 * 60 * 60_000

export type KnownTag = Extract<TagAnswer, { readonly known: true }>

export interface VouchingOptions {
  readonly host: Host
  /** What this node knows of a tag. */
  readonly lookup: (question: TagQuestion) => Promise<TagAnswer>
  readonly log: Log
  readonly clock?: Clock
}

/** Peers tell each other what tags mean, for when the registry can't be asked. An answer is the peer's word, nothing more. */
export interface Vouching extends AsyncDisposable {
  /**
   * The freshest answer of up to eight peers asked at once: when all have answered, or half a second after the first that knows.
   * `undefined` when none knows. @throws the signal's reason
   */
  ask(
    question: TagQuestion,
    peers: readonly PeerRef[],
    options: { signal: AbortSignal },
  ): Promise<{ readonly answer: KnownTag; readonly peerId: string } | undefined>
}

export async function openVouching(options: VouchingOptions): Promise<Vouching> {
  const desk = new VouchDesk({ clock: SYSTEM_CLOCK, ...options })
  await options.host.handle(TAG_PROTOCOL, { maxInboundStreams: STREAMS_PER_PEER }, (channel) => desk.serve(channel))
  return desk
}

class VouchDesk implements Vouching {
  readonly #options: Required<VouchingOptions>
  readonly #limits = new PeerLimits(PER_PEER)
  readonly #closing = new AbortController()
  #lookups = 0

  constructor(options: Required<VouchingOptions>) {
    this.#options = options
  }

  async serve(channel: Channel): Promise<void> {
    const { clock } = this.#options
    this.#closing.signal.throwIfAborted()
    if (!this.#limits.take(channel.peerId, clock.now()) || this.#lookups >= MAX_LOOKUPS)
      throw new ShoalError('PEER_BUSY', 'too many questions about tags')
    const cancelTimeout = clock.after(SERVE_MS, () => channel.abort(new ShoalError('PEER_TIMEOUT', 'no question in time')))
    this.#lookups++
    try {
      const question = decodeTagQuestion(await readOnlyFrame(channel, MAX_TAG_MESSAGE_BYTES))
      await writeOnlyFrame(channel, encodeTagAnswer(await this.#lookup(question)))
    } finally {
      this.#lookups--
      cancelTimeout()
    }
  }

  async ask(
    question: TagQuestion,
    peers: readonly PeerRef[],
    { signal }: { signal: AbortSignal },
  ): Promise<{ answer: KnownTag; peerId: string } | undefined> {
    signal.throwIfAborted()
    const { clock } = this.#options
    const enough = new AbortController()
    const onAbort = () => enough.abort(signal.reason)
    const cancels = [clock.after(ANSWER_MS, () => enough.abort(new ShoalError('PEER_TIMEOUT', 'no answer in time')))]
    signal.addEventListener('abort', onAbort, { once: true })
    this.#closing.signal.addEventListener('abort', onAbort, { once: true })
    let best: { answer: KnownTag; peerId: string } | undefined
    try {
      const asked = peers.slice(0, MAX_ASKED).map(async (peer) => {
        const answer = await this.#askOne(question, peer, enough.signal)
        if (answer === undefined || enough.signal.aborted) return
        if (best === undefined) cancels.push(clock.after(AFTER_FIRST_MS, () => enough.abort()))
        if (best === undefined || answer.ageMs < best.answer.ageMs) best = { answer, peerId: peer.id }
      })
      await Promise.all(asked)
      signal.throwIfAborted()
      return best
    } finally {
      for (const cancel of cancels) cancel()
      signal.removeEventListener('abort', onAbort)
      this.#closing.signal.removeEventListener('abort', onAbort)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
  }

  async #lookup(question: TagQuestion): Promise<TagAnswer> {
    try {
      const answer = await this.#options.lookup(question)
      return answer.known ? { ...answer, ageMs: saneAge(answer.ageMs) } : answer
    } catch (error) {
      this.#options.log.warn({ ...question, err: error }, 'what is known of a tag could not be read')
      return { known: false }
    }
  }

  /** `undefined` for a peer that does not know or does not answer. */
  async #askOne(question: TagQuestion, peer: PeerRef, signal: AbortSignal): Promise<KnownTag | undefined> {
    let channel: Channel | undefined
    const onAbort = () => channel?.abort(new ShoalError('PEER_TIMEOUT', 'not waited for any longer'))
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      channel = await this.#options.host.open(peer, TAG_PROTOCOL, { signal })
      signal.throwIfAborted()
      const [answer] = await Promise.all([
        readOnlyFrame(channel, MAX_TAG_MESSAGE_BYTES).then(decodeTagAnswer),
        writeOnlyFrame(channel, encodeTagQuestion(question)),
      ])
      return answer.known ? { ...answer, ageMs: saneAge(answer.ageMs) } : undefined
    } catch (error) {
      channel?.abort(error as Error)
      this.#options.log.debug({ ...question, peerId: peer.id, err: error }, 'a peer does not vouch for a tag')
      return undefined
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }
}

/** A whole number from now to a month; what makes no sense is as old as can be. */
function saneAge(ageMs: number): number {
  return Number.isFinite(ageMs) && ageMs >= 0 ? Math.min(Math.round(ageMs), MAX_AGE_MS) : MAX_AGE_MS
}
