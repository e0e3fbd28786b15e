import { encodeFrame } from '../../protocols/frame.ts'
import { decodeTagQuestion, encodeTagAnswer, TAG_PROTOCOL, type TagAnswer, type TagQuestion } from '../../protocols/tag/codec.ts'
import { MAX_TAG_MESSAGE_BYTES } from '../../protocols/tag/limits.ts'
import { type Clock, SYSTEM_CLOCK } from '../clock.ts'
import { ShoalError } from '../errors.ts'
import type { Channel } from '../net/channel.ts'
import type { Host, PeerRef } from '../net/host.ts'
import { readOnlyFrame, writeOnlyFrame } from '../net/only-frame.ts'
import type { Log } from '../telemetry/log.ts'
import { PeerLimits } from './peer-limits.ts'
import { askForTag, type KnownTag, saneAge, type VouchPatience } from './vouch-exchange.ts'

const MAX_ASKED = 8
/** Others may know it fresher than the first who answers. */
const AFTER_FIRST_MS = 500
/** A peer that says nothing for so long is not waited for. */
const ANSWER_MS = 2_000
const QUESTION_MS = 5_000
/** From the question to the end of the answer, the registry's own time included. */
const SERVE_MS = 20_000
/** A whole zone may ask at once, and all wait for one answer of the registry. */
const MAX_LOOKUPS = 2_048
const STREAMS_PER_PEER = 8
const PER_PEER = Object.freeze({ burst: 50, refillMs: 50 })

const SOON = encodeFrame(encodeTagAnswer({ known: 'soon' }))

/** Who asks, and how to tell it that the answer takes a while. */
export interface TagAsker {
  readonly peerId: string
  soon(): void
}

/** What is known of a tag, or is not. */
export type TagWord = Exclude<TagAnswer, { readonly known: 'soon' }>

export interface VouchingOptions {
  readonly host: Host
  /** What this node knows of a tag, or finds out. */
  readonly lookup: (question: TagQuestion, asker: TagAsker) => Promise<TagWord>
  readonly log: Log
  readonly clock?: Clock
}

/** Peers tell each other what tags mean. An answer is the peer's word, nothing more. */
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
  /** One peer's answer. @throws ShoalError PEER_TIMEOUT, PEER_UNREACHABLE, PEER_REFUSED, PEER_GONE, MESSAGE_*, or the signal's reason */
  askOne(question: TagQuestion, peer: PeerRef, options: VouchPatience & { signal: AbortSignal }): Promise<TagWord>
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
    const late = (ms: number) => clock.after(ms, () => channel.abort(new ShoalError('PEER_TIMEOUT', 'not done in time')))
    let cancelTimeout = late(QUESTION_MS)
    this.#lookups++
    try {
      const question = decodeTagQuestion(await readOnlyFrame(channel, MAX_TAG_MESSAGE_BYTES))
      cancelTimeout()
      cancelTimeout = late(SERVE_MS)
      const asker = { peerId: channel.peerId, soon: () => void channel.write([SOON]).catch(() => {}) }
      await writeOnlyFrame(channel, encodeTagAnswer(await this.#lookup(question, asker)))
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
    const cancels: (() => void)[] = []
    signal.addEventListener('abort', onAbort, { once: true })
    let best: { answer: KnownTag; peerId: string } | undefined
    try {
      const asked = peers.slice(0, MAX_ASKED).map(async (peer) => {
        const answer = await this.#askIfThere(question, peer, enough.signal)
        if (answer?.known !== true || enough.signal.aborted) return
        if (best === undefined) cancels.push(clock.after(AFTER_FIRST_MS, () => enough.abort()))
        if (best === undefined || answer.ageMs < best.answer.ageMs) best = { answer, peerId: peer.id }
      })
      await Promise.all(asked)
      signal.throwIfAborted()
      return best
    } finally {
      for (const cancel of cancels) cancel()
      signal.removeEventListener('abort', onAbort)
    }
  }

  async askOne(
    question: TagQuestion,
    peer: PeerRef,
    { signal, ...patience }: VouchPatience & { signal: AbortSignal },
  ): Promise<TagWord> {
    const { host, clock } = this.#options
    const abort = new AbortController()
    const onAbort = () => abort.abort(signal.reason)
    const onClose = () => abort.abort(this.#closing.signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    this.#closing.signal.addEventListener('abort', onClose, { once: true })
    try {
      signal.throwIfAborted()
      this.#closing.signal.throwIfAborted()
      return await askForTag(question, { host, peer, clock, patience, abort })
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#closing.signal.removeEventListener('abort', onClose)
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new ShoalError('NODE_CLOSED', 'the node is closing'))
  }

  async #lookup(question: TagQuestion, asker: TagAsker): Promise<TagAnswer> {
    try {
      const answer = await this.#options.lookup(question, asker)
      return answer.known ? { ...answer, ageMs: saneAge(answer.ageMs) } : answer
    } catch (error) {
      this.#options.log.warn({ ...question, err: error }, 'what is known of a tag could not be read')
      return { known: false }
    }
  }

  /** `undefined` for a peer that does not answer. */
  async #askIfThere(question: TagQuestion, peer: PeerRef, signal: AbortSignal): Promise<TagWord | undefined> {
    try {
      return await this.askOne(question, peer, { signMs: ANSWER_MS, answerMs: 0, signal })
    } catch (error) {
      this.#options.log.debug({ ...question, peerId: peer.id, err: error }, 'a peer does not vouch for a tag')
      return undefined
    }
  }
}
