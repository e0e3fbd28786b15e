import type { Digest } from '../../protocols/digest.ts'
import type { CounterMessage, MemberMessage, SwarmPeer } from '../../protocols/rendezvous/codec.ts'
import type { Clock } from '../clock.ts'
import { ShoalError } from '../errors.ts'
import type { Line } from './line.ts'
import { firstInOrder } from './order.ts'

/** When so many have sent us on there is something wrong with them, or with us. */
const MAX_DECLINED = 4
/** One that owes an answer for so long is taken for dead. */
const DEAD_MS = 3_000

/** A peer that this node has registered with for one blob: the rendezvous, or its standby. */
export interface Seat {
  readonly line: Line
  /** It has answered the registration. */
  answered: boolean
  /** It has granted leases. */
  active: boolean
  /** It was told that it is the one, whatever it thinks. */
  insisted: boolean
  /** It has owed an answer for longer than one waits. */
  silent: boolean
  hangUp(): void
}

export interface SeatsOptions {
  readonly digest: Digest
  readonly desk: number
  /** How many there are: the rendezvous, and its standby if it needs one. */
  readonly places: number
  readonly clock: Clock
  /** Everybody who could be the rendezvous, this node included. */
  readonly candidates: () => readonly string[]
  /** Whether it is worth taking: known, and not failing. Asked of every candidate, so it makes no line. */
  readonly isReachable: (peerId: string) => boolean
  /** Whether to talk to it costs no new connection. */
  readonly isConnected: (peerId: string) => boolean
  /** The way to a peer that is known or whose addresses came along. */
  readonly lineTo: (peerId: string, addresses?: readonly string[]) => Line | undefined
  readonly registration: (insist: boolean) => MemberMessage
  readonly answerMs: (peerId: string) => number
  readonly hear: (seat: Seat, message: CounterMessage) => void
  readonly onLost: (seat: Seat) => void
  /** Somebody answered, fell silent, came or went. */
  readonly onChange: () => void
}

/** The rendezvous of one blob and its standby, as this node sees them; others take the places of those who are gone. */
export class Seats {
  readonly #options: SeatsOptions
  readonly #seats: Seat[] = []
  /** Those who have sent us on to another. */
  readonly #declined = new Set<string>()
  #redirected = false
  #lostAny = false
  #closed = false

  constructor(options: SeatsOptions) {
    this.#options = options
  }

  all(): readonly Seat[] {
    return this.#seats
  }

  /** Whether nothing is waited for. */
  get answered(): boolean {
    return this.#seats.every(({ answered }) => answered)
  }

  /** Whether a connection leads to whoever is the first. */
  get nearby(): boolean {
    const { digest, desk, candidates, isReachable, isConnected } = this.#options
    return firstInOrder(digest, candidates().filter(isReachable), 1, desk).some(isConnected)
  }

  /** Whom to ask: the first, unless only the standby has granted leases, as it does when the first has just come. */
  choose(): Seat | undefined {
    const [first, second] = this.#seats.filter((seat) => !seat.silent)
    if (second?.answered === true && second.active && first?.answered === true && !first.active) return second
    return first
  }

  /** Takes the next in order for each place that is free. */
  fill(): void {
    const { digest, desk, places, candidates, isReachable, lineTo } = this.#options
    const free = places - this.#seats.length
    if (this.#closed || free <= 0 || this.#declined.size >= MAX_DECLINED) return
    const seated = new Set(this.#seats.map((seat) => seat.line.peerId))
    const may = (id: string) => !seated.has(id) && !this.#declined.has(id) && isReachable(id)
    for (const id of firstInOrder(digest, candidates().filter(may), free, desk)) {
      const line = lineTo(id)
      if (line !== undefined) this.#take(line, this.#lostAny, this.#seats.length)
    }
  }

  /** A seat says that another is the one: followed once. */
  redirect(from: Seat, { id, addresses }: SwarmPeer): void {
    const place = this.#seats.indexOf(from)
    if (place < 0) return
    const to = this.#redirected ? undefined : this.#options.lineTo(id, addresses)
    this.#redirected = true
    if (to !== undefined && !to.failing && to !== from.line) {
      this.#decline(from)
      if (!this.#seats.some((seat) => seat.line === to)) this.#take(to, true, place)
      this.fill()
    } else if (from.insisted) {
      this.#decline(from)
      this.fill()
    } else {
      from.insisted = true
      from.line.say(this.#options.registration(true))
    }
    this.#options.onChange()
  }

  /** These are not asked any more. @returns the seats that they had */
  dismiss(peerIds: ReadonlySet<string>): readonly Seat[] {
    const gone = this.#seats.filter((seat) => peerIds.has(seat.line.peerId))
    for (const seat of gone) this.#leave(seat)
    this.#lostAny ||= gone.length > 0
    return gone
  }

  /** An answer is overdue: others are asked meanwhile. */
  fellSilent(seat: Seat): void {
    if (seat.silent || !this.#seats.includes(seat)) return
    seat.silent = true
    this.#options.clock.after(DEAD_MS, () => {
      if (seat.silent && this.#seats.includes(seat))
        seat.line.giveUp(new ShoalError('PEER_TIMEOUT', `${seat.line.peerId} does not answer as a rendezvous`))
    })
    this.#options.onChange()
  }

  /** To all who know of this node. */
  say(message: MemberMessage): void {
    for (const { answered, line } of this.#seats) if (answered) line.say(message)
  }

  close(): void {
    this.#closed = true
    for (const seat of this.#seats.splice(0)) seat.hangUp()
  }

  #take(line: Line, insist: boolean, place: number): void {
    const { digest, clock, registration, answerMs, hear, onLost, onChange } = this.#options
    const waiting = clock.after(answerMs(line.peerId), () => {
      if (!seat.answered) this.fellSilent(seat)
    })
    const caller = {
      hear: (message: CounterMessage) => {
        if (!this.#seats.includes(seat)) return
        const woke = seat.silent
        seat.silent = false
        hear(seat, message)
        if (woke) onChange()
      },
      lost: () => {
        this.#leave(seat)
        this.#lostAny = true
        onLost(seat)
        this.fill()
        onChange()
      },
    }
    const seat: Seat = {
      line,
      answered: false,
      active: false,
      silent: false,
      insisted: insist,
      hangUp: () => {
        waiting()
        line.hangUp(digest, caller)
      },
    }
    this.#seats.splice(place, 0, seat)
    line.call(digest, caller)
    line.say(registration(insist))
  }

  #decline(seat: Seat): void {
    this.#leave(seat)
    this.#declined.add(seat.line.peerId)
  }

  #leave(seat: Seat): void {
    const place = this.#seats.indexOf(seat)
    if (place >= 0) this.#seats.splice(place, 1)
    seat.hangUp()
  }
}
