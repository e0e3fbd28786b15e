import type { CounterMessage, MemberMessage } from '../../protocols/rendezvous/codec.ts'
import type { Clock } from '../clock.ts'
import type { Seat } from './seats.ts'

export type GrantMessage = Extract<CounterMessage, { type: 'grant' }>
export type Answer = GrantMessage | 'wait' | 'silent'

interface Open {
  readonly request: number
  readonly seat: Seat
  readonly resolve: (answer: Answer) => void
}

/** The one question that a member has asked and that is not answered. */
export class Inquiry {
  readonly #clock: Clock
  #open: Open | undefined
  #lastRequest = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** As wide as the wire's field; 0 stands for no request. */
  nextRequest(): number {
    this.#lastRequest = this.#lastRequest === 0xffff_ffff ? 1 : this.#lastRequest + 1
    return this.#lastRequest
  }

  /** Whom it was put to. */
  get seat(): Seat | undefined {
    return this.#open?.seat
  }

  is(request: number): boolean {
    return this.#open?.request === request
  }

  answer(answer: Answer): void {
    this.#open?.resolve(answer)
  }

  /** @param onOverdue called when no answer has come in time; it is still waited for @throws the signal's reason */
  async put(
    seat: Seat,
    message: Extract<MemberMessage, { type: 'ask' }>,
    { answerMs, onOverdue, signal }: { answerMs: number; onOverdue: () => void; signal: AbortSignal },
  ): Promise<Answer> {
    const { promise, resolve, reject } = Promise.withResolvers<Answer>()
    this.#open = { request: message.request, seat, resolve }
    const onAbort = () => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    const cancel = this.#clock.after(answerMs, onOverdue)
    seat.line.say(message)
    try {
      return await promise
    } finally {
      cancel()
      signal.removeEventListener('abort', onAbort)
      this.#open = undefined
    }
  }
}
