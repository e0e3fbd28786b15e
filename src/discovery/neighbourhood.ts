import type { Clock } from '../clock.ts'
import type { Host, PeerRef } from '../net/host.ts'
import { networkOf } from '../net/network-of.ts'
import type { Log } from '../telemetry/log.ts'
import { jittered, type Random } from './pace.ts'

/** In a zone up to this size everybody is connected to everybody. */
const SMALL_ZONE = 32
/** In a larger one, each dials so many: the graph is connected and a few hops wide. */
const SAMPLE = 16
/** So many of one network, where there are others: whoever makes up many members does not get all places. */
const SAMPLE_OF_ONE_NETWORK = SAMPLE / 4
/** In a large zone, one that could not be reached so many times in a row gives way to another for a while. */
const MAX_FAILURES = 3
const REVIEW_MS = 5_000
/** Members that appear together are reviewed together. */
const DEBOUNCE_MS = 50
/** Of two members that want each other, the one with the smaller id dials; the other does so if that did not help. */
const COURTESY_MS = 3_000
const MAX_DIALS = 4
const DIAL_TIMEOUT_MS = 10_000
const RETRY_MS = 2_000
const MAX_RETRY_MS = 5 * 60_000

/** Whom to be connected to: the same members as long as they live, and others for each salt. */
export function chooseNeighbours(members: readonly PeerRef[], salt: string): readonly PeerRef[] {
  if (members.length <= SMALL_ZONE) return members
  const inOrder = members
    .map((peer) => ({ peer, weight: weigh(salt + peer.id) }))
    .sort((a, b) => a.weight - b.weight)
    .map(({ peer }) => peer)
  const chosen = new Set<PeerRef>()
  const taken = new Map<string, number>()
  for (const peer of inOrder) {
    if (chosen.size === SAMPLE) break
    const network = networkOf(peer.addresses[0] ?? '') ?? ''
    const before = taken.get(network) ?? 0
    if (before >= SAMPLE_OF_ONE_NETWORK) continue
    taken.set(network, before + 1)
    chosen.add(peer)
  }
  for (const peer of inOrder) if (chosen.size < SAMPLE) chosen.add(peer)
  return [...chosen]
}

/** FNV-1a with murmur3's last mixing: spreads ids; the salt is what keeps others from choosing their place. */
function weigh(text: string): number {
  let sum = 0x811c9dc5
  for (let i = 0; i < text.length; i++) sum = Math.imul(sum ^ text.charCodeAt(i), 0x01000193)
  sum = Math.imul(sum ^ (sum >>> 16), 0x85ebca6b)
  sum = Math.imul(sum ^ (sum >>> 13), 0xc2b2ae35)
  return (sum ^ (sum >>> 16)) >>> 0
}

interface Dialing {
  failures: number
  notBefore: number
  busy: boolean
}

export interface NeighbourhoodOptions {
  readonly host: Pick<Host, 'peerId' | 'connect' | 'isConnected' | 'onPeer'>
  readonly members: () => readonly PeerRef[]
  readonly clock: Clock
  readonly random: Random
  readonly log: Log
}

/** Keeps this node connected to members of its zone: gossip reaches only who is connected, and does not dial. */
export class Neighbourhood implements AsyncDisposable {
  readonly #options: NeighbourhoodOptions
  readonly #salt: string
  readonly #wanted = new Map<string, Dialing>()
  /** Members that were not reached time and again, until when they are left out. */
  readonly #leftOut = new Map<string, number>()
  readonly #dials = new Set<Promise<void>>()
  readonly #abort = new AbortController()
  readonly #stopListening: () => void
  #timer: { readonly at: number; readonly cancel: () => void } | undefined

  constructor(options: NeighbourhoodOptions) {
    this.#options = options
    this.#salt = `${options.random()}`
    this.#stopListening = options.host.onPeer(({ type }) => {
      if (type === 'disconnect') this.review()
    })
    this.#schedule(REVIEW_MS)
  }

  /** The zone has changed. */
  review(): void {
    this.#schedule(DEBOUNCE_MS)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopListening()
    this.#timer?.cancel()
    this.#abort.abort()
    await Promise.all(this.#dials)
  }

  #schedule(delayMs: number): void {
    if (this.#abort.signal.aborted) return
    const { clock } = this.#options
    const at = clock.now() + delayMs
    if (this.#timer !== undefined && this.#timer.at <= at) return
    this.#timer?.cancel()
    const cancel = clock.after(delayMs, () => {
      this.#timer = undefined
      this.#review()
      this.#schedule(REVIEW_MS)
    })
    this.#timer = { at, cancel }
  }

  #review(): void {
    const { host, clock } = this.#options
    const now = clock.now()
    const chosen = chooseNeighbours(this.#within(this.#options.members(), now), this.#salt)
    const ids = new Set(chosen.map(({ id }) => id))
    for (const id of this.#wanted.keys()) if (!ids.has(id)) this.#wanted.delete(id)
    for (const peer of chosen) {
      const dialing = this.#wanted.get(peer.id) ?? this.#want(peer.id, now)
      if (dialing.busy || host.isConnected(peer.id) || peer.addresses.length === 0) continue
      if (dialing.notBefore > now) this.#schedule(dialing.notBefore - now)
      else if (this.#dials.size < MAX_DIALS) this.#dial(peer, dialing)
    }
  }

  /** The members without those that are left out; a small zone does without nobody. */
  #within(members: readonly PeerRef[], now: number): readonly PeerRef[] {
    for (const [id, until] of this.#leftOut) if (until <= now) this.#leftOut.delete(id)
    if (members.length <= SMALL_ZONE || this.#leftOut.size === 0) return members
    return members.filter(({ id }) => !this.#leftOut.has(id))
  }

  #want(id: string, now: number): Dialing {
    const courtesyMs = this.#options.host.peerId < id ? 0 : COURTESY_MS
    const dialing = { failures: 0, notBefore: now + courtesyMs, busy: false }
    this.#wanted.set(id, dialing)
    return dialing
  }

  #dial(peer: PeerRef, dialing: Dialing): void {
    dialing.busy = true
    const dial = this.#connect(peer, dialing).finally(() => {
      dialing.busy = false
      this.#dials.delete(dial)
      this.review()
    })
    this.#dials.add(dial)
  }

  async #connect(peer: PeerRef, dialing: Dialing): Promise<void> {
    const { host, clock, random, log } = this.#options
    const abort = new AbortController()
    const onClose = () => abort.abort()
    this.#abort.signal.addEventListener('abort', onClose, { once: true })
    const cancelTimeout = clock.after(DIAL_TIMEOUT_MS, onClose)
    try {
      await host.connect(peer, { signal: abort.signal })
      dialing.failures = 0
    } catch (error) {
      const retryMs = Math.min(RETRY_MS * 2 ** dialing.failures++, MAX_RETRY_MS)
      if (dialing.failures >= MAX_FAILURES) this.#leftOut.set(peer.id, clock.now() + MAX_RETRY_MS)
      dialing.notBefore = clock.now() + jittered(retryMs, random)
      log.debug({ peerId: peer.id, failures: dialing.failures, err: error }, 'a member of the zone is not reached')
    } finally {
      cancelTimeout()
      this.#abort.signal.removeEventListener('abort', onClose)
    }
  }
}
