import type { CounterMessage, MemberMessage } from '../../protocols/rendezvous/codec.ts'
import type { PeerRef } from '../net/host.ts'
import { fewNamed } from './policy.ts'
import { type Seat, Seats, type SeatsOptions } from './seats.ts'

export interface IntroducerOptions extends Omit<SeatsOptions, 'places' | 'hear' | 'onLost'> {
  readonly meet: (peers: readonly PeerRef[]) => void
  /** It knows few others, or does not answer. */
  readonly onFew: () => void
}

/** A member's place at a desk that introduces and grants nothing: whatever else is said there is not heard. */
export class Introducer {
  readonly #options: IntroducerOptions
  readonly #seats: Seats

  constructor(options: IntroducerOptions) {
    this.#options = options
    const hear = (seat: Seat, message: CounterMessage) => this.#hear(seat, message)
    this.#seats = new Seats({ ...options, places: 1, hear, onLost: () => {}, onChange: () => this.#changed() })
  }

  /** Whether a connection leads there. */
  get nearby(): boolean {
    return this.#seats.nearby
  }

  /** Whether nothing is waited for. */
  get answered(): boolean {
    return this.#seats.answered
  }

  register(): void {
    this.#seats.fill()
    this.#changed()
  }

  /** What that peer says is heard elsewhere from now on. */
  yieldTo(peerId: string): void {
    if (this.#seats.all().some(({ line }) => line.peerId === peerId)) this.#seats.close()
  }

  say(message: MemberMessage): void {
    this.#seats.say(message)
  }

  close(): void {
    this.#seats.close()
  }

  #hear(seat: Seat, message: CounterMessage): void {
    if (message.type === 'redirect') {
      this.#seats.redirect(seat, message.peer)
      return
    }
    if (message.type !== 'members') return
    const first = !seat.answered
    seat.answered = true
    this.#options.meet(message.peers)
    if (first && fewNamed(message.peers.length)) this.#options.onFew()
    if (first) this.#options.onChange()
  }

  #changed(): void {
    if (this.#seats.all().every(({ silent }) => silent)) this.#options.onFew()
    this.#options.onChange()
  }
}
