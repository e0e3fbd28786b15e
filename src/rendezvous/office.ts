import type { Digest } from '../../protocols/digest.ts'
import type { CounterMessage, MemberMessage, SwarmPeer } from '../../protocols/rendezvous/codec.ts'
import { MAX_WAIT_MS } from '../../protocols/rendezvous/limits.ts'
import type { Clock } from '../clock.ts'
import type { BlobLeases } from './blob-leases.ts'
import { LeaseTable, TABLE_BOUNDS, type TableBounds } from './lease-table.ts'
import { unlessMany } from './policy.ts'
import { Roster } from './roster.ts'

/** Newcomers are told of together. */
const SPREAD_MS = 25
const TICK_MS = 100

export interface OfficeOptions {
  readonly clock: Clock
  readonly random: () => number
  /** Whom to send a newcomer to when this node is not the one at that desk; `undefined` when it is. */
  readonly redirect: (digest: Digest, desk: number) => SwarmPeer | undefined
  /** Members who get no lease, and whose imports count for nothing. */
  readonly caught?: ((digest: Digest) => ReadonlySet<string> | undefined) | undefined
  readonly bounds?: TableBounds | undefined
}

/** One who attends: a peer by its stream, or this node itself. */
export interface Visitor {
  readonly peerId: string
  readonly tell: (message: CounterMessage) => void
}

interface Attendant {
  readonly visitor: Visitor
  readonly peer: SwarmPeer
}

/** What concerns one blob besides its leases. */
interface Desk {
  readonly digest: Digest
  readonly roster: Roster
  readonly attendants: Map<string, Attendant>
}

/** The rendezvous that this node is for others and for itself: hears what members say, and answers by the lease table. */
export class Office {
  readonly #options: OfficeOptions
  readonly #table: LeaseTable
  readonly #desks = new Map<string, Desk>()
  readonly #fresh = new Set<Desk>()
  #cancelSpread: (() => void) | undefined
  #cancelTick: (() => void) | undefined

  constructor(options: OfficeOptions) {
    this.#options = options
    const { random, bounds = TABLE_BOUNDS } = options
    this.#table = new LeaseTable({ random, bounds, onDrop: (key) => this.#desks.delete(key) })
  }

  /** Blobs that somebody attends for. */
  get size(): number {
    return this.#table.size
  }

  hear(visitor: Visitor, message: MemberMessage): void {
    const { digest } = message
    const now = this.#options.clock.now()
    if (message.type === 'register') {
      this.#register(visitor, message)
      return
    }
    if (message.type === 'unregister') {
      this.#unregister(visitor, digest, message.complete)
      return
    }
    if (message.type === 'ask') {
      this.#ask(visitor, message)
      return
    }
    const id = visitor.peerId
    if (this.#table.get(digest)?.has(id) !== true) return
    const blob = this.#table.use(digest, id)
    if (blob === undefined) return
    switch (message.type) {
      case 'hold':
        this.#hold(visitor, blob, message)
        return
      case 'opened':
        if (blob.opened(id, message.lease, message.size, message.streams, now)) this.#tellSize(digest)
        this.#call(digest)
        this.#table.trim()
        return
      case 'alive':
        blob.alive(id, message.lease, now)
        return
      case 'progress':
        blob.progress(id, message.lease, message.index, now)
        this.#call(digest)
        return
      case 'end':
        blob.end(id, message.lease, message, now)
        this.#call(digest)
    }
  }

  /** A visitor is gone: nothing of it stays for a blob, unless it has come back by another stream. */
  leave(visitor: Visitor, digest: Digest): void {
    const desk = this.#desks.get(digest.toString())
    if (desk !== undefined && desk.attendants.get(visitor.peerId)?.visitor !== visitor) return
    desk?.attendants.delete(visitor.peerId)
    desk?.roster.delete(visitor.peerId)
    this.#table.leave(digest, visitor.peerId)
    this.#call(digest)
    if (desk?.attendants.size === 0) this.#desks.delete(digest.toString())
  }

  close(): void {
    this.#cancelSpread?.()
    this.#cancelTick?.()
  }

  #register(
    visitor: Visitor,
    { digest, size, desk: number, insist, addresses }: Extract<MemberMessage, { type: 'register' }>,
  ): void {
    const id = visitor.peerId
    if (!insist && this.#table.get(digest)?.informed !== true) {
      const peer = this.#options.redirect(digest, number)
      if (peer !== undefined) {
        visitor.tell({ type: 'redirect', digest, peer })
        return
      }
    }
    const blob = this.#table.use(digest, id)
    if (blob === undefined) {
      visitor.tell({ type: 'members', digest, size: 0, active: false, peers: [] })
      return
    }
    const desk = this.#desk(digest)
    const learnt = blob.join(id, size)
    const known = desk.attendants.get(id)?.visitor === visitor
    desk.attendants.set(id, { visitor, peer: { id, addresses } })
    const others = known ? [] : desk.roster.introduce(id, blob.holders(), this.#options.random)
    this.#tellOf(visitor, desk, blob, others)
    if (!known) this.#spreadSoon(desk)
    if (learnt) this.#tellSize(digest)
  }

  #unregister(visitor: Visitor, digest: Digest, complete: boolean): void {
    if (!complete) this.leave(visitor, digest)
    else {
      this.#table.get(digest)?.complete(visitor.peerId)
      this.#call(digest)
    }
  }

  #ask(visitor: Visitor, { digest, request, size, ranges }: Extract<MemberMessage, { type: 'ask' }>): void {
    const now = this.#options.clock.now()
    const id = visitor.peerId
    // it registered, but that was let go for others
    if (this.#table.get(digest)?.has(id) !== true)
      this.#register(visitor, { type: 'register', digest, size, desk: 0, insist: true, addresses: [] })
    const blob = this.#table.use(digest, id)
    const runs = ranges.map(({ first, count }) => ({ first, last: first + count - 1 }))
    const caught = this.#caughtOf(digest)
    this.#forget(digest, caught)
    const granted = blob?.has(id) === true && !caught.has(id)
    const decision = granted ? blob.ask({ member: id, size, runs }, now) : { retryMs: MAX_WAIT_MS }
    if ('retryMs' in decision) {
      visitor.tell({ type: 'wait', digest, request, retryMs: Math.min(MAX_WAIT_MS, Math.ceil(decision.retryMs)) })
      return
    }
    this.#tellGrant(visitor, digest, request, decision.lease)
  }

  /** Members who are not granted anything. */
  #caughtOf(digest: Digest): ReadonlySet<string> {
    return unlessMany(this.#options.caught?.(digest), this.#desks.get(digest.toString())?.attendants.size ?? 0)
  }

  #forget(digest: Digest, members: ReadonlySet<string>): void {
    for (const id of members) {
      if (this.#table.get(digest)?.has(id) !== true) continue
      this.#table.leave(digest, id)
      this.#call(digest)
    }
  }

  #hold(
    visitor: Visitor,
    blob: BlobLeases,
    { digest, request, size, first, count }: Extract<MemberMessage, { type: 'hold' }>,
  ): void {
    const id = visitor.peerId
    const run = { first, last: first + count - 1 }
    const lease = this.#caughtOf(digest).has(id) ? undefined : blob.hold(id, size, run, this.#options.clock.now())
    if (lease === undefined) visitor.tell({ type: 'wait', digest, request, retryMs: MAX_WAIT_MS })
    else this.#tellGrant(visitor, digest, request, lease)
  }

  #tellGrant(
    visitor: Visitor,
    digest: Digest,
    request: number,
    lease: { id: number; size: number; first: number; last: number },
  ) {
    const { id, size, first, last } = lease
    visitor.tell({ type: 'grant', digest, request, lease: id, size, first, count: size === 0 ? 0 : last - first + 1 })
    this.#table.trim()
    this.#tickSoon()
  }

  #tellOf(visitor: Visitor, desk: Desk, { size, active }: BlobLeases, ids: readonly string[]): void {
    const peers = ids.flatMap((id) => desk.attendants.get(id)?.peer ?? [])
    visitor.tell({ type: 'members', digest: desk.digest, size, active, peers })
  }

  /** Those who wait here are told the size, and may ask. */
  #tellSize(digest: Digest): void {
    const desk = this.#desks.get(digest.toString())
    const blob = this.#table.get(digest)
    if (desk === undefined || blob === undefined) return
    for (const { visitor } of desk.attendants.values()) if (blob.waits(visitor.peerId)) this.#tellOf(visitor, desk, blob, [])
  }

  /** Tells those whose turn it is that there is something for them. */
  #call(digest: Digest): void {
    const desk = this.#desks.get(digest.toString())
    const called = this.#table.get(digest)?.call(this.#options.clock.now()) ?? []
    for (const id of called) desk?.attendants.get(id)?.visitor.tell({ type: 'wait', digest, request: 0, retryMs: 0 })
    if (called.length > 0) this.#tickSoon()
  }

  #desk(digest: Digest): Desk {
    const key = digest.toString()
    const desk = this.#desks.get(key) ?? { digest, roster: new Roster(), attendants: new Map() }
    this.#desks.set(key, desk)
    return desk
  }

  #spreadSoon(desk: Desk): void {
    this.#fresh.add(desk)
    this.#cancelSpread ??= this.#options.clock.after(SPREAD_MS, () => {
      this.#cancelSpread = undefined
      for (const one of this.#fresh) this.#spread(one)
      this.#fresh.clear()
    })
  }

  #spread(desk: Desk): void {
    const blob = this.#table.get(desk.digest)
    if (blob === undefined) return
    for (const [id, news] of desk.roster.spread(this.#options.random)) {
      const visitor = desk.attendants.get(id)?.visitor
      if (visitor !== undefined) this.#tellOf(visitor, desk, blob, news)
    }
  }

  #tickSoon(): void {
    this.#cancelTick ??= this.#options.clock.after(TICK_MS, () => {
      this.#cancelTick = undefined
      this.#table.expire(this.#options.clock.now())
      for (const { digest } of this.#desks.values()) this.#call(digest)
      if (this.#table.nextExpiry() !== undefined) this.#tickSoon()
    })
  }
}
