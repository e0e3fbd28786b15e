import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Bitfield } from '../../protocols/bitfield.ts'
import { digestOf } from '../../protocols/digest.ts'
import { MIN_PIECE_BYTES } from '../../protocols/pieces.ts'
import { Usefulness } from '../../src/download/usefulness.ts'
import type { PeerRef } from '../../src/net/host.ts'
import { networkOf } from '../../src/net/network-of.ts'
import { Roster } from '../../src/rendezvous/roster.ts'
import { sample } from '../../src/sample.ts'
import { Interest } from '../../src/transfer/interest.ts'
import type { Link } from '../../src/transfer/link.ts'
import { LinkedSwarm } from '../../src/transfer/swarm.ts'
import { seeded } from '../discovery/virtual-clock.ts'

const PIECES = 40
const SIZE = PIECES * MIN_PIECE_BYTES
const DIGEST = digestOf(Buffer.from('a large swarm'))
const PLACES = 24
/** Members of the zone that each is connected with, and asks. */
const CONNECTED = 16
/** Pieces that one node gets, and gives, in a second. */
const GETS = 2
const GIVES = 3

type Kind = 'honest' | 'boaster'

/** A member of a swarm whose links are mere words; who it knows, and whom it gives up, is decided by the real parts. */
class Member {
  readonly ref: PeerRef
  readonly kind: Kind
  readonly have = new Bitfield(PIECES)
  readonly swarm: LinkedSwarm
  readonly usefulness = new Usefulness()
  /** Whom it was ever told of, or wanted by. */
  readonly known = new Set<Member>()
  dead = false
  gives = 0
  /** How often a neighbour gave way. */
  exchanged = 0
  readonly #crowd: Crowd

  constructor(ref: PeerRef, kind: Kind, crowd: Crowd) {
    this.ref = ref
    this.kind = kind
    this.#crowd = crowd
    this.swarm = new LinkedSwarm(DIGEST, {
      maxNeighbours: PLACES,
      selfId: ref.id,
      linkTo: (peer) => this.#linkTo(peer),
      networkOf: ({ addresses }) => networkOf(addresses[0] ?? '') ?? '',
      now: () => crowd.now,
      random: crowd.random,
      have: () => {},
      onClose: () => {},
    })
  }

  get completed(): boolean {
    return this.have.complete
  }

  hearOf(other: Member): void {
    this.known.add(other)
    this.swarm.add(other.ref)
  }

  /** Gets what it can of its neighbours, and looks whom to replace. */
  live(): void {
    for (let i = 0; i < GETS && !this.completed; i++) this.#getOne()
    const { usefulness } = this
    if (this.swarm.waiting === 0 || !usefulness.due(this.#crowd.now)) return
    const seats = this.swarm.neighbours().map(({ peer, state, have }) => ({ peerId: peer.id, state, have, silent: false }))
    const replaced = usefulness.review(seats, this.have, this.#crowd.now)
    this.exchanged += replaced.length
    this.swarm.exchange(replaced)
  }

  #getOne(): void {
    const { random } = this.#crowd
    const sources = this.swarm.neighbours().filter(({ have }) => have !== undefined && lacks(this.have, have).length > 0)
    const source = sources[Math.floor(random() * sources.length)]
    if (source === undefined) return
    const giver = this.#crowd.member(source.peer.id)
    const offered = lacks(this.have, source.have as Bitfield)
    if (giver.kind === 'boaster') this.usefulness.askedInVain(giver.ref.id)
    else if (giver.gives < GIVES) {
      giver.gives++
      this.have.add(offered[Math.floor(random() * offered.length)] as number)
      this.usefulness.gave(giver.ref.id)
    }
  }

  #linkTo(peer: PeerRef): Link {
    const other = this.#crowd.member(peer.id)
    const link = {
      peer: other.ref,
      want: (digest: typeof DIGEST) => {
        this.#crowd.wants.push([this, other])
        return this.#crowd.tell(new Interest(digest), other)
      },
      retry: () => {},
      release: (interest: Interest) => this.#crowd.forget(interest),
    }
    return link as unknown as Link
  }
}

/** Members of one swarm on a network that needs no time. */
class Crowd {
  readonly random = seeded(11)
  readonly members = new Map<string, Member>()
  readonly #roster = new Roster()
  readonly #interests = new Map<Interest, Member>()
  /** On their way: who wants to know what whom holds, and so may be worth knowing to that one too. */
  readonly wants: (readonly [Member, Member])[] = []
  now = 0

  /** One more comes, and is told of some, as some are of it. */
  join(kind: Kind, address: string): Member {
    const id = `peer${this.members.size}`
    const member = new Member({ id, addresses: [address] }, kind, this)
    this.members.set(id, member)
    const holders = new Set([...this.members.values()].filter(({ have }) => have.count > 0).map(({ ref }) => ref.id))
    for (const other of this.#roster.introduce(id, holders, this.random)) member.hearOf(this.member(other))
    if (this.members.size % 20 === 0) this.#spread()
    this.#deliver()
    return member
  }

  member(id: string): Member {
    return this.members.get(id) as Member
  }

  /** What one says of itself now, and will. */
  tell(interest: Interest, of: Member): Interest {
    this.#interests.set(interest, of)
    say(interest, of)
    return interest
  }

  forget(interest: Interest): void {
    this.#interests.delete(interest)
  }

  second(): void {
    this.now += 1_000
    if (this.now === 1_000) this.#meet()
    for (const [interest, of] of this.#interests) say(interest, of)
    for (const member of this.members.values()) member.gives = 0
    for (const member of this.living()) member.live()
    this.#deliver()
  }

  living(): Member[] {
    return [...this.members.values()].filter(({ dead, kind }) => !dead && kind === 'honest')
  }

  /** Hops from the living to the living at most; `undefined`: some are not reached. */
  diameter(): number | undefined {
    const living = new Set(this.living())
    const edges = new Map([...living].map((member) => [member, new Set<Member>()]))
    for (const member of living) {
      for (const { peer } of member.swarm.neighbours()) {
        const other = this.member(peer.id)
        if (!living.has(other)) continue
        edges.get(member)?.add(other)
        edges.get(other)?.add(member)
      }
    }
    let most = 0
    for (const member of living) {
      const hops = eccentricity(member, edges)
      if (hops === undefined) return undefined
      most = Math.max(most, hops)
    }
    return most
  }

  #deliver(): void {
    for (let want = this.wants.shift(); want !== undefined; want = this.wants.shift()) want[1].hearOf(want[0])
  }

  /** Whom one is connected with anyway, as a member of the zone, is asked too. */
  #meet(): void {
    this.#spread()
    const everybody = [...this.members.values()]
    for (const member of everybody) for (const other of sample(everybody, CONNECTED, this.random)) member.hearOf(other)
    this.#deliver()
  }

  #spread(): void {
    for (const [id, news] of this.#roster.spread(this.random))
      for (const other of news) this.member(id).hearOf(this.member(other))
  }
}

function eccentricity(from: Member, edges: ReadonlyMap<Member, ReadonlySet<Member>>): number | undefined {
  const reached = new Set([from])
  let edge = [from]
  let hops = -1
  for (; edge.length > 0; hops++) {
    edge = edge.flatMap((one) => [...(edges.get(one) ?? [])]).filter((one) => !reached.has(one) && reached.add(one))
  }
  return reached.size === edges.size ? hops : undefined
}

function say(interest: Interest, { dead, kind, have }: Member): void {
  interest.state = dead ? 'failed' : kind === 'boaster' || have.complete ? 'complete' : have.count > 0 ? 'partial' : 'none'
  interest.size = SIZE
  interest.have = dead ? undefined : kind === 'boaster' ? Bitfield.full(PIECES) : have.count > 0 ? have : undefined
}

function lacks(have: Bitfield, of: Bitfield): number[] {
  return Array.from({ length: PIECES }, (_, i) => i).filter((i) => of.has(i) && !have.has(i))
}

function addressOf(i: number): string {
  return `/ip4/10.0.${i >> 8}.${i & 255}/tcp/7402`
}

/** Some hold a piece each that they import, as leases share them out. */
function importInto(members: readonly Member[]): void {
  for (let index = 0; index < PIECES; index++) members[index % members.length]?.have.add(index)
}

describe('a swarm far larger than the number of neighbours', () => {
  it('stays connected, a few hops wide, and everybody completes', () => {
    const crowd = new Crowd()
    for (let i = 0; i < 300; i++) crowd.join('honest', addressOf(i))
    importInto(crowd.living().slice(0, 12))
    for (let second = 0; second < 60; second++) {
      crowd.second()
      for (const { swarm } of crowd.living()) assert.ok(swarm.neighbours().length <= PLACES)
      if (second % 10 > 0) continue
      const diameter = crowd.diameter()
      assert.ok(diameter !== undefined && diameter <= 4, `${diameter} hops after ${second} s`)
    }
    assert.ok(crowd.living().every(({ completed }) => completed))
  })

  it('closes up when a third of it dies: the dead give way to others that are known', () => {
    const crowd = new Crowd()
    for (let i = 0; i < 300; i++) crowd.join('honest', addressOf(i))
    importInto(crowd.living().slice(0, 12))
    for (let second = 0; second < 10; second++) crowd.second()
    for (const [i, member] of crowd.living().entries()) if (i % 3 === 1) member.dead = true
    for (let second = 0; second < 60; second++) crowd.second()
    const living = crowd.living()
    const dead = living.flatMap(({ swarm }) => swarm.neighbours().filter(({ state }) => state === 'failed'))
    assert.ok(dead.length < living.length * PLACES * 0.1, `${dead.length} places are held by the dead`)
    const diameter = crowd.diameter()
    assert.ok(diameter !== undefined && diameter <= 4, `${diameter} hops`)
    assert.ok(living.every(({ completed }) => completed))
  })

  it('is not taken over by many who boast of everything and give nothing, although they came first', () => {
    const crowd = new Crowd()
    for (let i = 0; i < 200; i++) crowd.join('boaster', addressOf(1_000 + i))
    for (let i = 0; i < 200; i++) crowd.join('honest', addressOf(i))
    importInto(crowd.living().slice(0, 12))
    for (let second = 0; second < 80; second++) crowd.second()
    const honest = crowd.living()
    assert.ok(
      honest.every(({ completed }) => completed),
      `${honest.filter(({ completed }) => !completed).length} starve`,
    )
    assert.ok(crowd.diameter() !== undefined)
  })

  it('gives one network a quarter of the places at most where others want them', () => {
    const crowd = new Crowd()
    for (let i = 0; i < 200; i++) crowd.join('boaster', '/ip4/192.0.2.1/tcp/7402')
    for (let i = 0; i < 300; i++) crowd.join('honest', addressOf(i))
    crowd.second()
    for (const { swarm, known, ref } of crowd.living()) {
      const boasters = swarm.neighbours().filter(({ peer }) => crowd.member(peer.id).kind === 'boaster')
      const honest = [...known].filter((other) => other.kind === 'honest' && other.ref.id !== ref.id)
      assert.ok(boasters.length <= Math.max(PLACES / 4, PLACES - honest.length), `${boasters.length} beside ${honest.length}`)
    }
  })

  it('is as good a swarm where all are behind one address', () => {
    const crowd = new Crowd()
    for (let i = 0; i < 200; i++) crowd.join('honest', `/ip4/192.0.2.1/tcp/${10_000 + i}`)
    importInto(crowd.living().slice(0, 12))
    for (let second = 0; second < 60; second++) crowd.second()
    assert.ok(crowd.living().every(({ completed }) => completed))
    assert.ok((crowd.diameter() ?? Infinity) <= 4)
  })
})
