import type { Digest } from '../../protocols/digest.ts'
import type { CounterMessage, MemberMessage } from '../../protocols/rendezvous/codec.ts'
import type { Clock } from '../clock.ts'
import type { PeerRef } from '../net/host.ts'
import { deskOf, desksIn, LEASES } from './desks.ts'
import { Introducer } from './introducer.ts'
import type { Line } from './line.ts'
import { registrationDelayMs } from './policy.ts'
import { type Seat, Seats } from './seats.ts'

export interface RegistrationOptions {
  readonly digest: Digest
  readonly clock: Clock
  readonly random: () => number
  readonly self: PeerRef
  readonly members: () => readonly PeerRef[]
  readonly isReachable: (peerId: string) => boolean
  readonly isConnected: (peerId: string) => boolean
  readonly lineTo: (peerId: string, addresses?: readonly string[]) => Line | undefined
  /** 0 while it is not known. */
  readonly size: () => number
  readonly answerMs: () => number
  readonly meet: (peers: readonly PeerRef[]) => void
  readonly hear: (seat: Seat, message: CounterMessage) => void
  readonly onRegister: () => void
  readonly onLost: (seat: Seat) => void
  readonly onChange: () => void
}

/**
 * Where this node is registered for one blob: with those who grant leases; in a zone of several desks perhaps first with one who only
 * introduces, and with the others when that is not enough.
 */
export class Registration {
  /** Where leases are granted. */
  readonly seats: Seats
  readonly #options: RegistrationOptions
  readonly #introducer: Introducer | undefined
  #attends = false
  #closed = false

  constructor(options: RegistrationOptions) {
    this.#options = options
    const { digest, self, members } = options
    const desk = deskOf(digest, self.id, desksIn(members().length + 1))
    this.seats = this.#openSeats()
    this.#introducer = desk === LEASES ? undefined : this.#openIntroducer(desk)
  }

  /** Registers, now or when a crowd has had time to come one by one. @returns what takes that back */
  begin(): () => void {
    const { clock, random, members } = this.#options
    const delayMs = registrationDelayMs(members().length, random)
    if (delayMs > 0 && !(this.#introducer ?? this.seats).nearby) return clock.after(delayMs, () => this.#register())
    this.#register()
    return () => {}
  }

  /** Whether this node has turned to those who grant leases. */
  get attends(): boolean {
    return this.#attends
  }

  /** Whether nothing is waited for. */
  get answered(): boolean {
    return this.seats.answered && this.#introducer?.answered !== false
  }

  /** Turns to those who grant leases. */
  attend(): void {
    if (this.#attends || this.#closed) return
    this.#attends = true
    this.seats.fill()
  }

  /** To all who know of this node. */
  say(message: MemberMessage): void {
    this.seats.say(message)
    this.#introducer?.say(message)
  }

  close(): void {
    this.#closed = true
    this.seats.close()
    this.#introducer?.close()
  }

  #register(): void {
    if (this.#introducer === undefined) this.attend()
    else this.#introducer.register()
    this.#options.onRegister()
  }

  #openSeats(): Seats {
    const { lineTo, hear, onLost } = this.#options
    return new Seats({
      ...this.#at(LEASES),
      places: 2,
      lineTo: (peerId, addresses) => {
        this.#introducer?.yieldTo(peerId)
        return lineTo(peerId, addresses)
      },
      hear,
      onLost,
    })
  }

  /** A peer is spoken to in one place at a time: where leases are granted, if it is there. */
  #openIntroducer(desk: number): Introducer {
    const { isReachable, lineTo, meet } = this.#options
    const spokenTo = (peerId: string) => this.seats.all().some(({ line }) => line.peerId === peerId)
    return new Introducer({
      ...this.#at(desk),
      isReachable: (peerId) => isReachable(peerId) && !spokenTo(peerId),
      lineTo: (peerId, addresses) => (spokenTo(peerId) ? undefined : lineTo(peerId, addresses)),
      meet,
      onFew: () => this.attend(),
    })
  }

  #at(desk: number) {
    const { digest, clock, self, members, isReachable, isConnected, size, answerMs, onChange } = this.#options
    const { id, addresses } = self
    const candidates = () => [id, ...members().map((peer) => peer.id)]
    const registration = (insist: boolean): MemberMessage => ({ type: 'register', digest, size: size(), desk, insist, addresses })
    return { digest, desk, clock, candidates, isReachable, isConnected, registration, answerMs, onChange }
  }
}
