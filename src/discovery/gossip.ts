import type { Beacon, HolderNews, OriginPause, ZoneMessage } from '../../protocols/beacon/codec.ts'
import { decodeZoneMessage, encodeZoneMessage, zoneTopic } from '../../protocols/beacon/codec.ts'
import { MAX_ADDRESS_BYTES, MAX_ADDRESSES, MAX_NEWS_DIGESTS } from '../../protocols/beacon/limits.ts'
import type { Digest } from '../../protocols/digest.ts'
import type { ZoneLabel } from '../../protocols/zone.ts'
import type { Clock } from '../clock.ts'
import type { Host, TopicMessage, Topics, Verdict } from '../net/host.ts'
import type { Log } from '../telemetry/log.ts'
import type { Sink } from './held-sweep.ts'
import type { Holders } from './holders.ts'
import { NewsBook } from './news-book.ts'
import { jittered, newsDelayMs, type Random, welcomeDelayMs } from './pace.ts'
import type { StalePairs } from './stale-pairs.ts'
import { Waiters } from './waiters.ts'
import type { ZoneView } from './zone-view.ts'

/** Peers that connect at once are greeted at once; and what was published before they had told their subscriptions is lost. */
const CONNECT_DEBOUNCE_MS = 250
const AGAIN_MS = 2_000
/** In a large zone everybody recites, so each says less. */
const LARGE_ZONE = 128

/** What a node says of itself in its beacons. */
export interface Self {
  readonly label: ZoneLabel
  readonly roles: readonly string[]
  readonly version: string
  /** 0 idle … 255. */
  readonly load: () => number
  /** Milliseconds since the epoch. */
  readonly startedAt: number
}

export interface ZoneGossipOptions {
  readonly host: Pick<Host, 'peerId' | 'addresses' | 'onPeer'>
  readonly topics: Topics
  readonly self: Self
  readonly view: ZoneView
  readonly holders: Holders
  readonly stale: StalePairs
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
  /** A member is new or has restarted. */
  readonly onJoin: () => void
  /** Somebody is there, after nobody was. */
  readonly onCompany: () => void
  /** A member says that an origin wants to be left alone. */
  readonly onPause: (author: string, pause: OriginPause) => void
}

/** Tells the zone that this node lives and what it holds, and hears the same of the others. */
export class ZoneGossip implements Sink, Disposable {
  readonly #options: ZoneGossipOptions
  readonly #topic: string
  readonly #book = new NewsBook()
  readonly #timers = new Map<'beacon' | 'news' | 'welcome' | 'again', { at: number; cancel: () => void }>()
  readonly #waiters = new Waiters()
  readonly #stopListening: () => void
  #sequence = 0
  #beaconAt = Number.NEGATIVE_INFINITY
  #newsAt = Number.NEGATIVE_INFINITY
  #welcomeAt = Number.NEGATIVE_INFINITY
  #closed = false

  constructor(options: ZoneGossipOptions) {
    this.#options = options
    this.#topic = zoneTopic(options.self.label)
    // What can't be said fails here, at its caller, and not at every beacon.
    encodeZoneMessage(this.#describeSelf())
    // What is accepted is taken in at once: a message is judged exactly once.
    options.topics.subscribe(
      this.#topic,
      (message) => this.#receive(message),
      () => {},
    )
    this.#stopListening = options.host.onPeer(({ type }) => {
      if (type === 'connect') this.#greet()
    })
    this.#greet()
  }

  offer(digest: Digest): void {
    this.#book.hold(digest)
    this.#scheduleNews()
  }

  withdraw(digest: Digest): void {
    this.#book.drop(digest)
    this.#scheduleNews()
  }

  /** Tells the zone at once that an origin wants to be left alone. */
  pause(pause: OriginPause): void {
    if (!this.#closed && this.#options.view.nodes > 1) void this.#publish(pause)
  }

  async ready(): Promise<void> {
    while (this.#book.busy && !this.#closed) await this.#waiters.wait()
  }

  [Symbol.dispose](): void {
    this.#closed = true
    this.#stopListening()
    for (const { cancel } of this.#timers.values()) cancel()
    this.#timers.clear()
    this.#waiters.wake()
  }

  #receive({ author, data }: TopicMessage): Verdict {
    const { host, view, onCompany } = this.#options
    if (this.#closed || author === host.peerId) return 'ignore'
    const alone = view.nodes === 1
    const verdict = this.#judge(author, data)
    if (verdict !== 'accept') return verdict
    if (alone) onCompany()
    this.#scheduleNews()
    return verdict
  }

  #judge(author: string, data: Uint8Array): Verdict {
    let message: ZoneMessage
    try {
      message = decodeZoneMessage(data)
    } catch (error) {
      this.#options.log.debug({ peerId: author, err: error }, 'a zone message is malformed')
      return 'reject'
    }
    if (message.type === 'pause') return this.#hearPause(author, message)
    return message.type === 'beacon' ? this.#hearBeacon(author, message) : this.#hearNews(author, message)
  }

  #hearBeacon(author: string, beacon: Beacon): Verdict {
    const { view, clock, onJoin } = this.#options
    const { verdict, joined } = view.hearBeacon(author, beacon, clock.now())
    if (joined) {
      this.#scheduleWelcome()
      onJoin()
    }
    return verdict
  }

  #hearNews(author: string, news: HolderNews): Verdict {
    const { view, holders, stale, clock } = this.#options
    const now = clock.now()
    const { verdict } = view.hearNews(author, news, now)
    if (verdict !== 'accept') return verdict
    for (const digest of news.added) {
      holders.add(String(digest), author)
      stale.refute(String(digest), author, now)
    }
    // What others recorded in the DHT lives on for hours.
    for (const digest of news.removed) if (holders.remove(String(digest), author)) stale.add(String(digest), author, now)
    return verdict
  }

  #hearPause(author: string, pause: OriginPause): Verdict {
    const { view, clock, onPause } = this.#options
    const verdict = view.hearPause(author, clock.now())
    if (verdict === 'accept') onPause(author, pause)
    return verdict
  }

  /** Somebody connected: a beacon soon, and once more when the mesh has formed. */
  #greet(): void {
    this.#scheduleBeacon(jittered(CONNECT_DEBOUNCE_MS, this.#options.random))
    this.#schedule('again', AGAIN_MS, () => this.#scheduleBeacon(0))
  }

  /** Brings the next beacon forward, but never closer to the last than half an interval. */
  #scheduleBeacon(delayMs: number): void {
    const { view, clock } = this.#options
    const now = clock.now()
    const earliestMs = this.#beaconAt + view.intervalMs(now) / 2 - now
    this.#schedule('beacon', Math.max(delayMs, earliestMs), () => this.#sendBeacon())
  }

  #sendBeacon(): void {
    const { clock, view, random } = this.#options
    this.#beaconAt = clock.now()
    void this.#publish(this.#describeSelf())
    this.#scheduleBeacon(jittered(view.intervalMs(this.#beaconAt), random))
  }

  #describeSelf(): Beacon {
    const { label, roles, version, startedAt, load } = this.#options.self
    return {
      type: 'beacon',
      label,
      addresses: this.#addresses(),
      roles,
      load: Math.min(255, Math.max(0, Math.round(load()) || 0)),
      version,
      startedAt,
      sequence: this.#sequence++,
    }
  }

  /** Newcomers came: everybody says again who they are and what they hold, at different times. */
  #scheduleWelcome(): void {
    const { view, clock, random } = this.#options
    const now = clock.now()
    const restMs = this.#welcomeAt + view.intervalMs(now) - now
    this.#schedule('welcome', Math.max(restMs, welcomeDelayMs(view.nodes, random)), () => this.#welcome())
  }

  #welcome(): void {
    const { view, clock, random, holders } = this.#options
    this.#welcomeAt = clock.now()
    const limit = view.nodes > LARGE_ZONE ? MAX_NEWS_DIGESTS : Number.POSITIVE_INFINITY
    this.#book.recite(limit, (digest) => holders.hasPlenty(digest) && random() < 0.75)
    this.#scheduleBeacon(0)
    this.#scheduleNews()
  }

  /** News waits while nobody is there to hear it. */
  #scheduleNews(): void {
    const { view, clock, random } = this.#options
    if (this.#book.queued === 0 || view.nodes === 1 || this.#timers.has('news')) return
    const now = clock.now()
    const zone = { nodes: view.nodes, heardPerSecond: view.heardPerSecond(now), sinceLastMs: now - this.#newsAt }
    this.#schedule('news', newsDelayMs(zone, random), () => this.#sendNews())
  }

  #sendNews(): void {
    const batch = this.#book.take(MAX_NEWS_DIGESTS)
    if (batch === undefined) return
    this.#newsAt = this.#options.clock.now()
    void this.#publish({ type: 'news', addresses: this.#addresses(), ...batch })
    this.#waiters.wake()
    this.#scheduleNews()
  }

  async #publish(message: ZoneMessage): Promise<void> {
    const { topics, log } = this.#options
    try {
      await topics.publish(this.#topic, encodeZoneMessage(message))
    } catch (error) {
      log.debug({ type: message.type, err: error }, 'a zone message was not sent')
    }
  }

  #addresses(): readonly string[] {
    return this.#options.host
      .addresses()
      .filter((address) => address.length <= MAX_ADDRESS_BYTES)
      .slice(0, MAX_ADDRESSES)
  }

  /** One timer of a kind; the sooner time wins. */
  #schedule(kind: 'beacon' | 'news' | 'welcome' | 'again', delayMs: number, run: () => void): void {
    if (this.#closed) return
    const { clock } = this.#options
    const at = clock.now() + Math.max(0, delayMs)
    const pending = this.#timers.get(kind)
    if (pending !== undefined && pending.at <= at) return
    pending?.cancel()
    const cancel = clock.after(Math.max(0, delayMs), () => {
      this.#timers.delete(kind)
      run()
    })
    this.#timers.set(kind, { at, cancel })
  }
}
