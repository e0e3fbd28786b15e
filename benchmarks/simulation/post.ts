import { type Digest, parseDigest } from '../../protocols/digest.ts'
import type { CounterMessage, MemberMessage } from '../../protocols/rendezvous/codec.ts'
import { ShoalError } from '../../src/errors.ts'
import type { Caller, Line } from '../../src/rendezvous/line.ts'
import type { Visitor } from '../../src/rendezvous/office.ts'
import { COSTS } from './costs.ts'
import type { Peer } from './peer.ts'
import type { World } from './world.ts'

export const DIGEST: Digest = parseDigest(`sha256:${'5'.repeat(64)}`)
const FIRST_BACKOFF_MS = 1_000
const GRACE_MS = 250

/** The way from one host to another's office, as `PeerLine` and `serveVisit` are together: messages cost both CPUs and take their time. */
export class SimulatedLine implements Line {
  readonly peerId: string
  readonly #world: World
  readonly #from: Peer
  readonly #to: Peer
  #caller: Caller | undefined
  #open = false
  #opening = false
  #queue: MemberMessage[] = []
  #failingUntil = 0
  #failures = 0
  #visitor: Visitor

  constructor(world: World, from: Peer, to: Peer) {
    this.peerId = to.id
    this.#world = world
    this.#from = from
    this.#to = to
    this.#visitor = this.#newVisitor()
  }

  get failing(): boolean {
    return this.#world.now < this.#failingUntil
  }

  call(_digest: Digest, caller: Caller): void {
    this.#caller = caller
  }

  hangUp(_digest: Digest, caller: Caller): void {
    if (this.#caller === caller) this.#caller = undefined
  }

  say(message: MemberMessage): void {
    if (this.#open) this.#send(message)
    else {
      this.#queue.push(message)
      if (!this.#opening) this.#connect()
    }
  }

  giveUp(reason: Error): void {
    this.down(reason)
  }

  /** The other end is gone, or does not answer. */
  down(_reason: Error): void {
    const world = this.#world
    this.#failingUntil = world.now + Math.min(30_000, FIRST_BACKOFF_MS * 2 ** this.#failures++)
    this.#queue = []
    this.#opening = false
    if (this.#open) this.leave()
    this.#open = false
    const caller = this.#caller
    caller?.lost()
  }

  /** This end is gone: the office at the other notices. */
  leave(): void {
    const visitor = this.#visitor
    this.#visitor = this.#newVisitor()
    const { scenario } = this.#world
    this.#world.after(scenario.latencyMs + GRACE_MS, () => this.#to.alive && this.#to.office.leave(visitor, DIGEST))
  }

  #connect(): void {
    this.#opening = true
    this.#world.connect(this.#from, this.#to, (connected) => {
      if (!this.#opening) return
      this.#opening = false
      if (!connected) {
        this.down(new ShoalError('PEER_UNREACHABLE', `${this.peerId} is gone`))
        return
      }
      this.#open = true
      for (const message of this.#queue.splice(0)) this.#send(message)
    })
  }

  #send(message: MemberMessage): void {
    const visitor = this.#visitor
    this.#carry(this.#from, this.#to, message, () => {
      if (visitor === this.#visitor) this.#to.office.hear(visitor, message)
    })
  }

  #newVisitor(): Visitor {
    const visitor: Visitor = {
      peerId: this.#from.id,
      tell: (message) =>
        this.#carry(this.#to, this.#from, message, () => {
          if (visitor !== this.#visitor) return
          this.#failures = 0
          this.#caller?.hear(message)
        }),
    }
    return visitor
  }

  #carry(from: Peer, to: Peer, message: MemberMessage | CounterMessage, deliver: () => void): void {
    const world = this.#world
    world.count(message.type)
    const named = message.type === 'members' ? COSTS.namedPeer * message.peers.length : 0
    const left = world.cpu.work(from.index, COSTS.send + named, world.now)
    world.at(left + world.scenario.latencyMs, () => {
      if (!to.alive) return
      const done = world.cpu.work(to.index, COSTS.receive + named, world.now)
      world.at(done, () => {
        if (!to.alive || !from.alive) return
        world.stirred = true
        deliver()
      })
    })
  }
}
