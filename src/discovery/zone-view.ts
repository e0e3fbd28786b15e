import type { Beacon, HolderNews } from '../../protocols/beacon/codec.ts'
import { type ZoneLabel, zoneName } from '../../protocols/zone.ts'
import type { PeerRef, Verdict } from '../net/host.ts'
import { TokenBucket } from '../token-bucket.ts'
import type { Member } from './discovery.ts'
import { authorLimits, beaconIntervalMs, expiryMs } from './pace.ts'
import { RateMeter } from './rate-meter.ts'

export interface ZoneViewOptions {
  /** This node's own peer id. */
  readonly self: string
  readonly label: ZoneLabel
  readonly maxMembers?: number
}

const MAX_MEMBERS = 2_000
/** Of one member; what else it says of itself is bounded by its message. */
const MAX_ADDRESSES = 8

export interface Judgement {
  readonly verdict: Verdict
  /** The author is new here, or has restarted: it knows nothing of the zone yet. */
  readonly joined: boolean
}

const IGNORE: Judgement = Object.freeze({ verdict: 'ignore', joined: false })
const REJECT: Judgement = Object.freeze({ verdict: 'reject', joined: false })

interface Entry {
  peer: PeerRef
  /** `undefined` while only news was heard of it. */
  beacon: Beacon | undefined
  heardAt: number
  /** As the zone's size was when it was heard: when half a zone dies, the other half must not expire with it. */
  expiresAt: number
  readonly beacons: TokenBucket
  readonly news: TokenBucket
  readonly pauses: TokenBucket
}

/**
 * The members of this node's zone, from what they say of themselves. An author is who signed, so a liar can lie only about
 * itself; it is bounded in how often it is heard and in how much of it is kept. A full view takes no one new.
 */
export class ZoneView {
  readonly #self: string
  readonly #label: ZoneLabel
  readonly #maxMembers: number
  readonly #entries = new Map<string, Entry>()
  readonly #heard = new RateMeter()
  /** What `members` gave last, while it is true. */
  #members: readonly Member[] | undefined

  constructor(options: ZoneViewOptions) {
    this.#self = options.self
    this.#label = options.label
    this.#maxMembers = options.maxMembers ?? MAX_MEMBERS
  }

  /** Nodes of the zone that are known, with this one. */
  get nodes(): number {
    return this.#entries.size + 1
  }

  heardPerSecond(now: number): number {
    return this.#heard.perSecond(now)
  }

  /** How far apart the beacons of one node should be now. */
  intervalMs(now: number): number {
    return beaconIntervalMs(this.nodes, this.heardPerSecond(now))
  }

  hearBeacon(author: string, beacon: Beacon, now: number): Judgement {
    if (zoneName(beacon.label) !== zoneName(this.#label)) return REJECT
    const entry = this.#entry(author, now)
    if (entry === undefined || !entry.beacons.take(now, this.#limits(now).beacons)) return IGNORE
    const last = entry.beacon
    if (last !== undefined && !isNewer(beacon, last)) return IGNORE
    entry.beacon = beacon
    this.#sawAlive(author, entry, beacon.addresses, now)
    return { verdict: 'accept', joined: last === undefined || beacon.startedAt > last.startedAt }
  }

  /** News is a sign of life too: it may come before its author's first beacon does. */
  hearNews(author: string, news: HolderNews, now: number): Judgement {
    const entry = this.#entry(author, now)
    if (entry === undefined || !entry.news.take(now, this.#limits(now).news)) return IGNORE
    this.#sawAlive(author, entry, news.addresses, now)
    return { verdict: 'accept', joined: false }
  }

  /** A pause of an origin counts only from a member whose beacon was heard, and is no sign of life. */
  hearPause(author: string, now: number): Verdict {
    const entry = this.#entries.get(author)
    return entry?.beacon !== undefined && entry.pauses.take(now, this.#limits(now).pauses) ? 'accept' : 'ignore'
  }

  /** Forgets who has been silent for too long, and says who that was. */
  expire(now: number): ReadonlySet<string> {
    const gone = new Set<string>()
    const patienceMs = expiryMs(this.intervalMs(now))
    for (const [id, entry] of this.#entries) {
      if (Math.max(entry.expiresAt, entry.heardAt + patienceMs) <= now) gone.add(id)
    }
    for (const id of gone) this.#entries.delete(id)
    if (gone.size > 0) this.#members = undefined
    return gone
  }

  peer(id: string): PeerRef | undefined {
    return this.#entries.get(id)?.peer
  }

  labelOf(id: string): ZoneLabel | undefined {
    return this.#entries.get(id)?.beacon?.label
  }

  /** Those whose beacon was heard. */
  members(): readonly Member[] {
    this.#members ??= [...this.#entries.values()].flatMap(describe)
    return this.#members
  }

  #limits(now: number) {
    return authorLimits(this.nodes, this.heardPerSecond(now))
  }

  #entry(author: string, now: number): Entry | undefined {
    if (author === this.#self) return undefined
    const known = this.#entries.get(author)
    if (known !== undefined) return known
    if (this.#entries.size >= this.#maxMembers) return undefined
    const peer = { id: author, addresses: [] }
    const entry = {
      peer,
      beacon: undefined,
      heardAt: now,
      expiresAt: now,
      beacons: new TokenBucket(),
      news: new TokenBucket(),
      pauses: new TokenBucket(),
    }
    this.#entries.set(author, entry)
    return entry
  }

  #sawAlive(author: string, entry: Entry, addresses: readonly string[], now: number): void {
    entry.peer = { id: entry.peer.id, addresses: ownAddresses(author, addresses) }
    entry.heardAt = now
    entry.expiresAt = now + expiryMs(this.intervalMs(now))
    this.#heard.count(now)
    this.#members = undefined
  }
}

function describe({ peer, beacon, heardAt }: Entry): Member[] {
  if (beacon === undefined) return []
  const { label, load, version, roles } = beacon
  return [{ peer, label, load, version, roles, heardAt }]
}

function isNewer(beacon: Beacon, last: Beacon): boolean {
  if (beacon.startedAt !== last.startedAt) return beacon.startedAt > last.startedAt
  return beacon.sequence > last.sequence
}

/** An address that names another peer would make us dial that one. */
function ownAddresses(author: string, addresses: readonly string[]): readonly string[] {
  return addresses.filter((text) => !text.includes('/p2p/') || text.endsWith(`/p2p/${author}`)).slice(0, MAX_ADDRESSES)
}
