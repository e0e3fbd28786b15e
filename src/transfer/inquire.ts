import type { Claim } from '../../protocols/claim/codec.ts'
import type { Digest } from '../../protocols/digest.ts'
import { createFrameDecoder, encodeFrame } from '../../protocols/frame.ts'
import { decodeSwarmMessage, encodeSwarmMessage, type SwarmMessage } from '../../protocols/swarm/codec.ts'
import { MAX_SWARM_MESSAGE_BYTES } from '../../protocols/swarm/limits.ts'
import { ShoalError } from '../errors.ts'
import type { Channel } from '../net/channel.ts'
import { maxClaims, maxHashes } from './claims.ts'
import { Dialogue } from './dialogue.ts'

export type StateMessage = Extract<SwarmMessage, { type: 'state' }>
export type HaveMessage = Extract<SwarmMessage, { type: 'have' }>

export interface InquirerListener {
  onState(message: StateMessage): void
  onHave(message: HaveMessage): void
}

interface ClaimsQuestion {
  readonly maxClaims: number
  hashesLeft: number
  readonly claims: Claim[]
  readonly resolve: (claims: readonly Claim[]) => void
  readonly reject: (error: unknown) => void
}

/** The asking side of one control stream: what we want to know of a peer's blobs, and what it says. */
export class Inquirer {
  readonly #dialogue: Dialogue
  readonly #listener: InquirerListener
  /** By digest, in the order asked, which is the order of the answers. */
  readonly #questions = new Map<string, ClaimsQuestion[]>()

  constructor(channel: Channel, listener: InquirerListener, now: () => number) {
    this.#listener = listener
    const decode = createFrameDecoder(MAX_SWARM_MESSAGE_BYTES, (frame) => this.#onMessage(decodeSwarmMessage(frame)))
    this.#dialogue = new Dialogue(channel, {
      name: 'control',
      now,
      onChunk: (chunk) => decode.push(chunk),
      onOver: (reason) => this.#failAll(reason),
      // without it nothing is heard any more of what the peer holds
      idle: () => false,
    })
  }

  /** Resolves when the stream is over, with why. */
  get over(): Promise<unknown> {
    return this.#dialogue.over
  }

  /** Questions for claims that are not answered yet. */
  get open(): number {
    return this.#questions.size
  }

  get heardAt(): number {
    return this.#dialogue.heardAt
  }

  send(message: SwarmMessage): void {
    this.#dialogue.send(encodeFrame(encodeSwarmMessage(message)))
  }

  /** @throws ShoalError PEER_GONE, MESSAGE_MALFORMED */
  claims(digest: Digest, first: number, count: number): Promise<readonly Claim[]> {
    if (this.#dialogue.reason !== undefined) return Promise.reject(this.#dialogue.reason)
    if (this.#questions.size === 0) this.#dialogue.begin()
    const { promise, resolve, reject } = Promise.withResolvers<readonly Claim[]>()
    // whoever asked may have gone: its failure is not to end the process
    promise.catch(() => {})
    const key = digest.toString()
    const question: ClaimsQuestion = {
      maxClaims: maxClaims(count),
      hashesLeft: maxHashes(count),
      claims: [],
      resolve,
      reject,
    }
    const waiting = this.#questions.get(key)
    if (waiting === undefined) this.#questions.set(key, [question])
    else waiting.push(question)
    this.send({ type: 'get-claims', digest, first, count })
    return promise
  }

  abort(reason: Error): void {
    this.#dialogue.abort(reason)
  }

  async close(): Promise<void> {
    await this.#dialogue.close()
  }

  #onMessage(message: SwarmMessage): void {
    if (message.type === 'state') this.#listener.onState(message)
    else if (message.type === 'have') this.#listener.onHave(message)
    else if (message.type === 'claims') this.#onClaims(message.digest.toString(), message.claims, message.more)
    else throw new ShoalError('MESSAGE_MALFORMED', `a "${message.type}" message where answers are due`)
  }

  #onClaims(key: string, claims: readonly Claim[], more: boolean): void {
    const waiting = this.#questions.get(key)
    const question = waiting?.[0]
    if (waiting === undefined || question === undefined) throw new ShoalError('MESSAGE_MALFORMED', 'claims that nobody asked for')
    question.claims.push(...claims)
    for (const claim of claims) question.hashesLeft -= claim.hashes.length
    if (question.claims.length > question.maxClaims || question.hashesLeft < 0)
      throw new ShoalError('MESSAGE_MALFORMED', 'more claims than pieces asked about can have')
    if (more) return
    waiting.shift()
    if (waiting.length === 0) this.#questions.delete(key)
    question.resolve(question.claims)
  }

  #failAll(reason: unknown): void {
    for (const question of [...this.#questions.values()].flat()) question.reject(reason)
    this.#questions.clear()
  }
}
