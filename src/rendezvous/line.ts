import type { Digest } from '../../protocols/digest.ts'
import {
  type CounterMessage,
  isMemberMessage,
  type MemberMessage,
  type RendezvousMessage,
} from '../../protocols/rendezvous/codec.ts'
import { MAX_RENDEZVOUS_MESSAGE_BYTES } from '../../protocols/rendezvous/limits.ts'
import type { Clock } from '../clock.ts'
import { ShoalError } from '../errors.ts'
import type { Channel } from '../net/channel.ts'
import type { Office, Visitor } from './office.ts'
import { Wire } from './wire.ts'

/** What hears the answers about one blob. */
export interface Caller {
  hear(message: CounterMessage): void
  /** The line is down: whoever was at its end knows nothing of us any more. */
  lost(): void
}

/** The way to one rendezvous, for all blobs. */
export interface Line {
  readonly peerId: string
  /** It failed a short while ago: others are tried first. */
  readonly failing: boolean
  /** Hears what is said about a blob; whoever called about it before hears nothing more. */
  call(digest: Digest, caller: Caller): void
  hangUp(digest: Digest, caller: Caller): void
  say(message: MemberMessage): void
  /** It does not answer. */
  giveUp(reason: Error): void
}

const FIRST_BACKOFF_MS = 1_000
const MAX_BACKOFF_MS = 30_000
/** A stream without calls is kept for the next blob, and so that what we hold stays known. */
const IDLE_MS = 60_000

/** The way to this node's own office. Answers come in a turn of their own, as from a peer. */
export class OwnLine implements Line {
  readonly peerId: string
  readonly failing = false
  readonly #office: Office
  readonly #callers = new Map<string, Caller>()
  readonly #visitor: Visitor
  readonly #clock: Clock

  constructor(peerId: string, office: Office, clock: Clock) {
    this.peerId = peerId
    this.#office = office
    this.#clock = clock
    this.#visitor = {
      peerId,
      tell: (message) => queueMicrotask(() => this.#callers.get(message.digest.toString())?.hear(message)),
    }
  }

  call(digest: Digest, caller: Caller): void {
    this.#callers.set(digest.toString(), caller)
  }

  hangUp(digest: Digest, caller: Caller): void {
    const key = digest.toString()
    if (this.#callers.get(key) !== caller) return
    this.#callers.delete(key)
    this.#clock.after(IDLE_MS, () => {
      if (!this.#callers.has(key)) this.#office.leave(this.#visitor, digest)
    })
  }

  say(message: MemberMessage): void {
    this.#office.hear(this.#visitor, message)
  }

  giveUp(): void {}
}

export interface PeerLineOptions {
  readonly open: (signal: AbortSignal) => Promise<Channel>
  readonly clock: Clock
  /** Nobody calls any more and the stream is closed. */
  readonly onIdle: () => void
}

/** The way to a peer: one stream, opened when there is something to say. */
export class PeerLine implements Line {
  readonly peerId: string
  readonly #options: PeerLineOptions
  readonly #callers = new Map<string, Caller>()
  #wire: Wire | undefined
  #opening: AbortController | undefined
  /** Said while the stream opens. */
  #queue: MemberMessage[] = []
  #failures = 0
  #failingUntil = 0
  #cancelIdle: (() => void) | undefined

  constructor(peerId: string, options: PeerLineOptions) {
    this.peerId = peerId
    this.#options = options
  }

  get failing(): boolean {
    return this.#options.clock.now() < this.#failingUntil
  }

  call(digest: Digest, caller: Caller): void {
    this.#cancelIdle?.()
    this.#cancelIdle = undefined
    this.#callers.set(digest.toString(), caller)
  }

  hangUp(digest: Digest, caller: Caller): void {
    if (this.#callers.get(digest.toString()) !== caller) return
    this.#callers.delete(digest.toString())
    if (this.#callers.size > 0) return
    this.#cancelIdle = this.#options.clock.after(IDLE_MS, () => this.close())
  }

  say(message: MemberMessage): void {
    if (this.#wire !== undefined) {
      this.#wire.say(message)
      return
    }
    this.#queue.push(message)
    if (this.#opening === undefined) void this.#run()
  }

  giveUp(reason: Error): void {
    this.#down(reason)
  }

  close(): void {
    this.#cancelIdle?.()
    this.#opening?.abort(new ShoalError('PEER_GONE', 'not needed any more'))
    this.#opening = undefined
    const wire = this.#wire
    this.#wire = undefined
    void wire?.close().catch(() => {})
    this.#options.onIdle()
  }

  async #run(): Promise<void> {
    const opening = new AbortController()
    this.#opening = opening
    try {
      const channel = await this.#options.open(opening.signal)
      if (this.#opening !== opening) {
        channel.abort(new ShoalError('PEER_GONE', 'not needed any more'))
        return
      }
      this.#opening = undefined
      await this.#converse(new Wire(channel))
    } catch (error) {
      if (this.#opening === opening) this.#down(error as Error)
    }
  }

  async #converse(wire: Wire): Promise<void> {
    this.#wire = wire
    for (const message of this.#queue.splice(0)) wire.say(message)
    let reason: Error = new ShoalError('PEER_GONE', `${this.peerId} ended its stream`)
    try {
      await wire.listen(MAX_RENDEZVOUS_MESSAGE_BYTES, (message) => this.#hear(message))
    } catch (error) {
      reason = error as Error
    }
    if (this.#wire === wire) this.#down(reason)
  }

  #hear(message: RendezvousMessage): void {
    if (isMemberMessage(message)) throw new ShoalError('MESSAGE_MALFORMED', `a "${message.type}" message from a rendezvous`)
    this.#failures = 0
    this.#callers.get(message.digest.toString())?.hear(message)
  }

  #down(reason: Error): void {
    const { clock } = this.#options
    this.#failingUntil = clock.now() + Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** this.#failures++)
    this.#queue = []
    this.#opening?.abort(reason)
    this.#opening = undefined
    this.#wire?.abort(reason)
    this.#wire = undefined
    for (const caller of [...this.#callers.values()]) caller.lost()
    if (this.#callers.size === 0) this.#options.onIdle()
  }
}
