import { type Digest, parseDigest } from '../../protocols/digest.ts'
import type { CounterMessage, MemberMessage } from '../../protocols/rendezvous/codec.ts'
import type { Caller, Line } from '../../src/rendezvous/line.ts'
import type { Visitor } from '../../src/rendezvous/office.ts'
import { COSTS } from './costs.ts'
import { MIRRORED } from './mirrored.ts'
import type { Peer } from './peer.ts'
import type { World } from './world.ts'

const { FIRST_BACKOFF_MS, MAX_BACKOFF_MS, GRACE_MS } = MIRRORED

/** Of the blob that everybody wants. */
export const DIGEST: Digest = parseDigest(`sha256:${'5'.repeat(64)}`)

/** The way from one host to another's office, in place of `PeerLine` and `serveVisit`: messages cost both CPUs and take their time. */
export class SimulatedLine implements Line {
  readonly peerId: string
  readonly #world: World
  readonly #from: Peer
  readonly #to: Peer
  #caller: Caller | undefined
  #state: 'closed' | 'opening' | 'open' = 'closed'
  #queue: MemberMessage[] = []
  #failingUntil = 0
  #failures = 0
  /** When the last message arrives, there and here: none overtakes another. */
  readonly #due = { there: 0, here: 0 }
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
    if (this.#state === 'open') this.#send(message)
    else {
      this.#queue.push(message)
      if (this.#state === 'closed') this.#open()
    }
  }

  giveUp(): void {
    this.down()
  }

  /** The other end is gone, or does not answer. */
  down(): void {
    this.#failingUntil = this.#world.now + Math.min(MAX_BACKOFF_MS, FIRST_BACKOFF_MS * 2 ** this.#failures++)
    this.#queue = []
    this.leave()
    this.#caller?.lost()
  }

  /** This end is gone: the office at the other notices. */
  leave(): void {
    if (this.#state === 'open') {
      const visitor = this.#visitor
      const noticed = this.#world.scenario.latencyMs + GRACE_MS
      this.#world.clock.after(noticed, () => this.#to.alive && this.#to.attendance.office.leave(visitor, DIGEST))
    }
    this.#visitor = this.#newVisitor()
    this.#state = 'closed'
  }

  #open(): void {
    this.#state = 'opening'
    const visitor = this.#visitor
    this.#world.connect(this.#from, this.#to, (connected) => {
      if (this.#visitor !== visitor) return
      if (!connected) {
        this.down()
        return
      }
      this.#state = 'open'
      for (const message of this.#queue.splice(0)) this.#send(message)
    })
  }

  #send(message: MemberMessage): void {
    const visitor = this.#visitor
    this.#carry('there', message, () => {
      if (visitor === this.#visitor) this.#to.attendance.office.hear(visitor, message)
    })
  }

  #newVisitor(): Visitor {
    const visitor: Visitor = {
      peerId: this.#from.id,
      tell: (message) =>
        this.#carry('here', message, () => {
          if (visitor !== this.#visitor) return
          this.#failures = 0
          this.#caller?.hear(message)
        }),
    }
    return visitor
  }

  #carry(where: 'there' | 'here', message: MemberMessage | CounterMessage, deliver: () => void): void {
    const world = this.#world
    const [from, to] = where === 'there' ? [this.#from, this.#to] : [this.#to, this.#from]
    world.count(message.type)
    const named = message.type === 'members' ? COSTS.namedPeer * message.peers.length : 0
    const left = world.cpu.work(from.index, COSTS.send + named, world.now)
    this.#due[where] = Math.max(this.#due[where], left + world.messageMs(from, to))
    world.at(this.#due[where], () => {
      if (!to.alive) return
      world.at(world.cpu.work(to.index, COSTS.receive + named, world.now), () => {
        if (!to.alive || !from.alive) return
        world.stirred = true
        deliver()
      })
    })
  }
}
