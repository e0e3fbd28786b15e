import type { OriginPause } from '../../protocols/beacon/codec.ts'
import type { Digest } from '../../protocols/digest.ts'
import type { ZoneLabel } from '../../protocols/zone.ts'
import { type Clock, SYSTEM_CLOCK } from '../clock.ts'
import type { Host } from '../net/host.ts'
import { sample } from '../sample.ts'
import type { Log } from '../telemetry/log.ts'
import { DhtRecords } from './dht.ts'
import type { Candidate, Discovery, Member } from './discovery.ts'
import { ZoneGossip } from './gossip.ts'
import { HeldSweep } from './held-sweep.ts'
import { Holders } from './holders.ts'
import { Neighbourhood } from './neighbourhood.ts'
import { jittered, type Random } from './pace.ts'
import { findProviders } from './providers.ts'
import { StalePairs } from './stale-pairs.ts'
import { unlessAborted } from './unless-aborted.ts'
import { ZoneView } from './zone-view.ts'

/** Members offered for one blob besides its known holders: asking a whole zone would cost a connection each. */
const MAX_MEMBERS_OFFERED = 32
/** Of one blob in the DHT, from one zone. */
const RECORDS = 2
/** How often everything that is held is told again: gossip can be lost, and those who held it too can be gone. */
const SWEEP_MS = 30 * 60_000

export interface DiscoveryOptions {
  readonly host: Host
  readonly label: ZoneLabel
  readonly roles: readonly string[]
  readonly version: string
  /** 0 idle … 255. */
  readonly load: () => number
  /** Everything that is held completely and may be told of. */
  readonly heldDigests: () => AsyncIterable<Digest>
  readonly log: Log
  readonly clock?: Clock
  readonly random?: Random
  /** The DHT is asked so long after a holder was named by gossip, if anybody still wants to know. Default 1,000. */
  readonly knownHolderMs?: number
  /** Milliseconds since the epoch: a restart has a later one. */
  readonly startedAt?: number
  /** A member says that an origin wants to be left alone. */
  readonly onPause?: (author: string, pause: OriginPause) => void
}

/** Discovery that also carries what a zone tells itself about origins. */
export interface ZoneDiscovery extends Discovery {
  tellPause(pause: OriginPause): void
}

const NOW = Promise.resolve()
const DEFAULTS = Object.freeze({ clock: SYSTEM_CLOCK, random: Math.random, knownHolderMs: 1_000, onPause: () => {} })

/** Discovery by what the host has: gossip in the zone, the DHT across the mesh; either alone suffices. */
export async function openDiscovery(options: DiscoveryOptions): Promise<ZoneDiscovery> {
  return new Mesh({ ...DEFAULTS, startedAt: Date.now(), ...options })
}

class Mesh implements ZoneDiscovery {
  readonly #options: Required<DiscoveryOptions>
  readonly #view: ZoneView
  readonly #holders: Holders
  readonly #stale = new StalePairs()
  readonly #gossip: ZoneGossip | undefined
  readonly #dht: DhtRecords | undefined
  readonly #neighbourhood: Neighbourhood | undefined
  readonly #sweeps: HeldSweep[] = []
  readonly #closing = new AbortController()
  #cancelSweep: () => void = () => {}

  constructor(options: Required<DiscoveryOptions>) {
    const { host, label } = options
    this.#options = options
    this.#view = new ZoneView({ self: host.peerId, label })
    this.#holders = new Holders(options.random)
    if (host.topics !== undefined) {
      this.#neighbourhood = new Neighbourhood({ ...options, members: () => this.members().map(({ peer }) => peer) })
      this.#gossip = this.#openGossip(host.topics, this.#neighbourhood)
    }
    if (host.routing !== undefined) this.#dht = this.#openDht(host.routing)
    this.#scheduleSweep()
  }

  async *find(
    digest: Digest,
    { signal, further = NOW }: { signal: AbortSignal; further?: Promise<void> | undefined },
  ): AsyncGenerator<Candidate, void, undefined> {
    signal.throwIfAborted()
    const closing = this.#closing.signal
    if (closing.aborted) return
    const stop = new AbortController()
    const onAbort = () => stop.abort(signal.aborted ? signal.reason : undefined)
    const onClose = () => stop.abort()
    signal.addEventListener('abort', onAbort, { once: true })
    closing.addEventListener('abort', onClose, { once: true })
    try {
      for await (const candidate of this.#candidates(digest, further, stop.signal)) {
        if (!this.#stale.has(String(digest), candidate.peer.id, this.#options.clock.now())) yield candidate
      }
    } catch (error) {
      if (!closing.aborted || signal.aborted) throw error
    } finally {
      signal.removeEventListener('abort', onAbort)
      closing.removeEventListener('abort', onClose)
      stop.abort()
    }
  }

  announce(digest: Digest): void {
    this.#gossip?.offer(digest)
    this.#dht?.offer(digest)
  }

  withdraw(digest: Digest): void {
    this.#gossip?.withdraw(digest)
    this.#dht?.withdraw(digest)
  }

  tellPause(pause: OriginPause): void {
    this.#gossip?.pause(pause)
  }

  forget(digest: Digest, peerId: string): void {
    this.#holders.remove(String(digest), peerId)
    this.#stale.add(String(digest), peerId, this.#options.clock.now())
  }

  members(): readonly Member[] {
    this.#expire()
    return this.#view.members()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort()
    this.#cancelSweep()
    this.#gossip?.[Symbol.dispose]()
    await Promise.all([
      this.#dht?.[Symbol.asyncDispose](),
      this.#neighbourhood?.[Symbol.asyncDispose](),
      ...this.#sweeps.map((sweep) => sweep.close()),
    ])
  }

  async *#candidates(digest: Digest, further: Promise<void>, signal: AbortSignal): AsyncGenerator<Candidate, void, undefined> {
    const { routing } = this.#options.host
    const known = [...this.#known(digest)]
    if (further !== NOW) {
      yield* known.splice(0)
      await unlessAborted(further, signal)
    } else if (known.some(({ reason }) => reason === 'holder')) {
      yield* known.splice(0)
      // a look-up costs a dozen streams all over the mesh: a holder that is known has its chance first
      await this.#pause(this.#options.knownHolderMs, signal)
    }
    const providers = routing && findProviders(digest, { ...this.#options, routing, signal })
    // The DHT is asked before what is known is given: a slow consumer does not delay it.
    const first = providers?.next()
    first?.catch(() => {})
    try {
      yield* known
      for (let next = await first; next?.done === false; next = await providers?.next()) {
        const peer = next.value
        yield { peer, reason: 'holder', source: 'dht', label: this.#view.labelOf(peer.id) }
      }
    } finally {
      providers?.return().catch(() => {})
    }
  }

  /** Ends early when the look-up is over. */
  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    if (ms === 0) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const cancel = this.#options.clock.after(ms, resolve)
    try {
      await unlessAborted(promise, signal)
    } finally {
      cancel()
    }
  }

  /** What is known without asking: holders by gossip, then members of the zone, the connected ones first. */
  *#known(digest: Digest): Generator<Candidate> {
    this.#expire()
    const { host, random } = this.#options
    for (const id of this.#holders.find(String(digest))) {
      const peer = this.#view.peer(id)
      if (peer !== undefined) yield { peer, reason: 'holder', source: 'gossip', label: this.#view.labelOf(id) }
    }
    const near: Member[] = []
    const far: Member[] = []
    for (const member of this.#view.members()) (host.isConnected(member.peer.id) ? near : far).push(member)
    const offered = [...sample(near, MAX_MEMBERS_OFFERED, random), ...sample(far, MAX_MEMBERS_OFFERED, random)]
    for (const { peer, label } of offered.slice(0, MAX_MEMBERS_OFFERED)) yield { peer, reason: 'member', source: 'zone', label }
  }

  #expire(): void {
    const gone = this.#view.expire(this.#options.clock.now())
    if (gone.size > 0) this.#holders.removePeers(gone)
  }

  #openGossip(topics: NonNullable<Host['topics']>, neighbourhood: Neighbourhood): ZoneGossip {
    const gossip: ZoneGossip = new ZoneGossip({
      ...this.#options,
      self: this.#options,
      topics,
      view: this.#view,
      holders: this.#holders,
      stale: this.#stale,
      onJoin: () => neighbourhood.review(),
      onCompany: () => sweep.start(),
    })
    const sweep = this.#addSweep(gossip)
    return gossip
  }

  #openDht(routing: NonNullable<Host['routing']>): DhtRecords {
    const records: DhtRecords = new DhtRecords({
      ...this.#options,
      routing,
      hasPlenty: (digest) =>
        this.#holders.hasPlenty(digest) || this.#holders.before(digest, this.#options.host.peerId) >= RECORDS,
      hasCompany: () => this.#gossip !== undefined && this.members().length > 0,
      onOnline: () => sweep.start(),
    })
    const sweep = this.#addSweep(records)
    return records
  }

  #addSweep(sink: ZoneGossip | DhtRecords): HeldSweep {
    const sweep = new HeldSweep(this.#options.heldDigests, sink, this.#options.log)
    this.#sweeps.push(sweep)
    return sweep
  }

  #scheduleSweep(): void {
    const { clock, random } = this.#options
    this.#cancelSweep = clock.after(jittered(SWEEP_MS, random), () => {
      this.#expire()
      for (const sweep of this.#sweeps) sweep.start()
      this.#scheduleSweep()
    })
  }
}
