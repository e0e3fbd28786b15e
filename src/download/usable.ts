import { Bitfield } from '../../protocols/bitfield.ts'
import type { Source } from '../transfer/pick.ts'
import type { Neighbour, Swarm } from '../transfer/transfer.ts'
import { type Rival, seedOf } from '../transfer/turns.ts'
import { expectedMs, nearestMs } from './expected.ts'
import type { Incoming } from './incoming.ts'
import type { Second } from './second-asks.ts'
import type { Seated } from './usefulness.ts'

/** Peers that hold a piece but have sent nothing for so long do not keep it from being imported. */
export const SILENCE_MS = 4_000
/** Who was given up after such a silence is left alone for a while, for longer each time until it gives something. */
const REST_MS = 2_000
const MAX_REST_MS = 30_000

/** Which neighbours of a swarm can be asked for what, as this download sees them. */
export class Usable {
  readonly #incoming: Incoming
  readonly #swarm: Swarm
  /** Pieces that a peer, whatever it says, did not or should not give us. */
  readonly #without = new Map<string, Set<number>>()
  /** Peers whose word contradicts a better one's: not asked until that one turns out a liar. */
  readonly parked = new Set<string>()
  readonly #seeds = new Map<string, number>()
  /** Who has sent nothing since it was given up, how often that was in a row, and until when it is not asked. */
  readonly #tired = new Map<string, { times: number; restsUntil: number }>()

  constructor(incoming: Incoming, swarm: Swarm) {
    this.#incoming = incoming
    this.#swarm = swarm
  }

  /** Those that hold something of the blob that we bring in. */
  list(): Neighbour[] {
    return this.#swarm.neighbours().filter((n) => this.#holds(n) && !this.parked.has(n.peer.id))
  }

  /** Those that would be of use, were they not parked. */
  parkedOnes(): Neighbour[] {
    return this.#swarm.neighbours().filter((n) => this.parked.has(n.peer.id) && this.fits(n))
  }

  /** Whether any neighbour holds anything, or might come to. */
  get hopeful(): boolean {
    return this.#swarm.neighbours().some((n) => this.#holds(n))
  }

  /** Whether some neighbour that is not connected now may come back. */
  get mayReturn(): boolean {
    return this.#swarm.neighbours().some((n) => n.state === 'failed' || n.state === 'connecting' || n.state === 'asked')
  }

  /** Whether a neighbour says that the blob has another size, which is not among these. */
  saysOtherSize(disproved: ReadonlySet<number>): boolean {
    return this.#swarm.neighbours().some((n) => n.size !== undefined && !this.fits(n) && !disproved.has(n.size))
  }

  fits(n: Neighbour): boolean {
    return n.size === this.#incoming.geometry.size && n.have !== undefined
  }

  offers(n: Neighbour, index: number): boolean {
    if (n.have?.has(index) !== true || this.excludes(n.peer.id, index)) return false
    return !this.#isCaught(n) || this.list().some((other) => !this.#isCaught(other) && other.have?.has(index) === true)
  }

  exclude(peerId: string, index: number): void {
    const without = this.#without.get(peerId)
    if (without === undefined) this.#without.set(peerId, new Set([index]))
    else without.add(index)
  }

  include(peerId: string, index: number): void {
    this.#without.get(peerId)?.delete(index)
  }

  excludes(peerId: string, index: number): boolean {
    return this.#without.get(peerId)?.has(index) === true
  }

  /** A request was given up: was its peer silent for so long that it is better left alone? */
  givenUp(peerId: string, now: number): void {
    const tired = this.#tired.get(peerId)
    if (this.silentMs(peerId, now) < SILENCE_MS || (tired !== undefined && tired.restsUntil > now)) return
    const times = (tired?.times ?? 0) + 1
    this.#tired.set(peerId, { times, restsUntil: now + Math.min(MAX_REST_MS, REST_MS * 2 ** (times - 1)) })
  }

  /** It sends something. */
  gives(peerId: string): void {
    this.#tired.delete(peerId)
  }

  /** What can be asked of whom now. */
  sources(now: number): Source[] {
    return this.#askable(now).map((n) => ({
      peerId: n.peer.id,
      have: this.#isCaught(n) ? this.#confirmed(n) : (n.have as Bitfield),
      without: this.#without.get(n.peer.id),
      roomBytes: n.allowanceBytes - n.outstandingBytes,
      outstandingBytes: n.outstandingBytes,
      load: n.load,
    }))
  }

  /** Who can be asked for what another has been asked for, and is late with. */
  seconds(now: number): Second[] {
    return this.#askable(now).map((n) => ({
      peerId: n.peer.id,
      roomBytes: n.allowanceBytes - n.outstandingBytes,
      outstandingBytes: n.outstandingBytes,
      load: n.load,
      offers: (index) => this.offers(n, index),
      expectedMs: (bytes) => expectedMs(n, bytes) ?? n.patienceMs,
    }))
  }

  /** All neighbours, and what their use may be. */
  seated(now: number): Seated[] {
    return this.#swarm.neighbours().map((n) => ({
      peerId: n.peer.id,
      state: n.state,
      have: this.fits(n) ? n.have : undefined,
      silent: this.stalled(n, now),
    }))
  }

  /** How long a peer may be silent before its own history does not explain it any more. */
  patienceMs(peerId: string): number {
    return this.#swarm.neighbours().find((n) => n.peer.id === peerId)?.patienceMs ?? 0
  }

  /** How long a peer should take to give so many bytes, by how fast it was and what it owes us already; `undefined`: who knows. */
  expectedMs(peerId: string, bytes: number): number | undefined {
    const neighbour = this.#swarm.neighbours().find((n) => n.peer.id === peerId)
    return neighbour === undefined ? undefined : expectedMs(neighbour, bytes)
  }

  /** Who else may want what this node lacks. */
  rivals(): Rival[] {
    const rivals: Rival[] = []
    for (const { peer, state, have } of this.#swarm.neighbours()) {
      if (state !== 'asked' && state !== 'none' && state !== 'partial') continue
      let seed = this.#seeds.get(peer.id)
      seed ??= seedOf(peer.id)
      this.#seeds.set(peer.id, seed)
      rivals.push({ seed, have })
    }
    return rivals
  }

  /** What the nearest neighbour takes to answer when it is idle. */
  get delayMs(): number {
    return nearestMs(this.#swarm.neighbours())
  }

  /** The pieces that somebody holds who is not silent for so long that the origin should be gone to. */
  coverage(now: number): Bitfield {
    const union = new Bitfield(this.#incoming.geometry.pieces)
    for (const n of this.#lively(now)) {
      const without = this.#without.get(n.peer.id)
      if (without === undefined || without.size === 0) union.addAll(n.have as Bitfield)
      else {
        const have = (n.have as Bitfield).clone()
        for (const index of without) have.delete(index)
        union.addAll(have)
      }
    }
    return union
  }

  covers(index: number, now: number): boolean {
    return this.#lively(now).some((n) => this.offers(n, index))
  }

  /** Silent for longer than its own history explains: others are asked instead. */
  stalled(n: Neighbour, now: number): boolean {
    return this.silentMs(n.peer.id, now) > n.patienceMs
  }

  /** How long a peer that owes us pieces has sent no byte of any of them: requests queue at it, so one alone says nothing. */
  silentMs(peerId: string, now: number): number {
    let last: number | undefined
    for (const attempts of this.#incoming.attempts.values()) {
      for (const a of attempts) if (a.from === peerId && (last === undefined || a.progressedAt > last)) last = a.progressedAt
    }
    return last === undefined ? 0 : now - last
  }

  #askable(now: number): Neighbour[] {
    const rests = ({ peer }: Neighbour) => (this.#tired.get(peer.id)?.restsUntil ?? 0) > now
    return this.list().filter((n) => n.busyUntil <= now && !this.stalled(n, now) && !rests(n))
  }

  /** Those whose word that they hold something is worth waiting for. */
  #lively(now: number): Neighbour[] {
    const lively = (n: Neighbour) => this.silentMs(n.peer.id, now) < SILENCE_MS && !this.#tired.has(n.peer.id)
    return this.list().filter((n) => lively(n) && !this.#isCaught(n))
  }

  /** Whether it signed what is not so, in what it imported of this blob: what others hold too may be right. */
  #isCaught({ peer }: Neighbour): boolean {
    return this.#incoming.doubts.caught.has(peer.id)
  }

  /** Of what it holds, what others hold who were not caught. */
  #confirmed({ have }: Neighbour): Bitfield {
    const confirmed = new Bitfield(this.#incoming.geometry.pieces)
    for (const other of this.list()) if (!this.#isCaught(other)) confirmed.addAll(other.have as Bitfield)
    confirmed.keepAll(have as Bitfield)
    return confirmed
  }

  #holds(n: Neighbour): boolean {
    return (n.state === 'partial' || n.state === 'complete') && this.fits(n)
  }
}
