import type { Claim } from '../../protocols/claim/codec.ts'
import { contradictoryPair, contradicts, contradictsItsDigest, type Truth } from '../../protocols/claim/contradiction.ts'
import type { Digest } from '../../protocols/digest.ts'
import { decodeEvidence, type Evidence, encodeEvidence, isContest } from '../../protocols/evidence/codec.ts'
import { EVIDENCE_PROTOCOL, MAX_EVIDENCE_MESSAGE_BYTES } from '../../protocols/evidence/limits.ts'
import { type Clock, SYSTEM_CLOCK } from '../clock.ts'
import { PeerLimits } from '../discovery/peer-limits.ts'
import { ShoalError } from '../errors.ts'
import type { Channel } from '../net/channel.ts'
import type { Host, PeerRef } from '../net/host.ts'
import { readOnlyFrame, writeOnlyFrame } from '../net/only-frame.ts'
import { sample } from '../sample.ts'
import type { Store } from '../store/store.ts'
import type { Log } from '../telemetry/log.ts'
import { TokenBucket } from '../token-bucket.ts'
import { signClaim, verifyClaim } from '../transfer/claims.ts'
import type { Accusations, Contest } from './accusations.ts'
import type { Ban, Bans } from './bans.ts'
import type { NodeDownloads } from './downloads.ts'

/** Whom a ban's evidence is shown to: they show it to others when they have banned the peer too. */
const MAX_TOLD = 16
const MAX_REMEMBERED = 1_000
const TELL_MS = 5_000
const SERVE_MS = 5_000
const STREAMS_PER_PEER = 2
/** Streams read at a time, over all peers: each may hold a message in memory. */
const MAX_SERVED = 16
/** Messages: a burst, then one each so many milliseconds. A check costs about half a millisecond. */
const FROM_ONE = Object.freeze({ burst: 8, refillMs: 10_000 })
const FROM_ALL = Object.freeze({ burst: 64, refillMs: 250 })
const TO_ALL = Object.freeze({ burst: 16, refillMs: 1_000 })

export interface WitnessOptions {
  readonly host: Host
  readonly store: Store
  readonly bans: Bans
  readonly accusations: Accusations
  /** Whether this node has to do with a peer: others are not worth a ban, and ids cost nothing. */
  readonly knows: (peerId: string) => boolean
  readonly downloads: Pick<NodeDownloads, 'incoming' | 'active'>
  /** The operator declared that what this node holds may be seen by anybody who reaches it. */
  readonly shared: boolean
  readonly log: Log
  readonly clock?: Clock
  readonly random?: () => number
}

/** Shows neighbours what liars have signed, and checks what neighbours show: only what this node can prove by itself counts. */
export async function openWitness(options: WitnessOptions): Promise<AsyncDisposable> {
  const witness = new Witness({ clock: SYSTEM_CLOCK, random: Math.random, ...options })
  await options.host.handle(EVIDENCE_PROTOCOL, { maxInboundStreams: STREAMS_PER_PEER }, (channel) => witness.serve(channel))
  return witness
}

class Witness implements AsyncDisposable {
  readonly #options: Required<WitnessOptions>
  readonly #perPeer = new PeerLimits(FROM_ONE)
  readonly #heard = new TokenBucket()
  readonly #told = new TokenBucket()
  /** Bans that were told of, by peer and blob. */
  readonly #known = new Set<string>()
  readonly #closing = new AbortController()
  readonly #unsubscribe: readonly (() => void)[]
  #serving = 0

  constructor(options: Required<WitnessOptions>) {
    this.#options = options
    const { bans, accusations, log } = options
    const untold = (peerId: string) => (err: unknown) => log.debug({ peerId, err }, 'evidence was not told')
    this.#unsubscribe = [
      bans.onBan((ban) => void this.#tell(ban).catch(untold(ban.peerId))),
      accusations.onContest((contest) => void this.#tellContest(contest).catch(untold(contest.against.author))),
    ]
  }

  async serve(channel: Channel): Promise<void> {
    const { clock } = this.#options
    this.#closing.signal.throwIfAborted()
    const now = clock.now()
    if (this.#serving >= MAX_SERVED || !this.#perPeer.take(channel.peerId, now) || !this.#heard.take(now, FROM_ALL))
      throw new ShoalError('PEER_BUSY', 'too much evidence at once')
    const cancelTimeout = clock.after(SERVE_MS, () => channel.abort(new ShoalError('PEER_TIMEOUT', 'no evidence in time')))
    this.#serving++
    try {
      const { claims } = decodeEvidence(await readOnlyFrame(channel, MAX_EVIDENCE_MESSAGE_BYTES))
      await this.#weigh(claims, channel.peerId)
    } finally {
      this.#serving--
      cancelTimeout()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const unsubscribe of this.#unsubscribe) unsubscribe()
    this.#closing.abort(new ShoalError('NODE_CLOSED', 'the node is closing'))
  }

  /** @throws ShoalError CLAIM_INVALID when the author did not sign it */
  async #weigh(claims: Evidence['claims'], teller: string): Promise<void> {
    if (isContest(claims)) {
      await this.#weighContest(claims, teller)
      return
    }
    const { host, bans, knows, downloads, accusations, log } = this.#options
    const [claim, other] = claims
    const { author, digest } = claim
    if (author === host.peerId || bans.has(author) || !knows(author)) return
    for (const one of claims)
      if (!(await verifyClaim(host, one))) throw new ShoalError('CLAIM_INVALID', 'evidence that nobody signed')
    if (other !== undefined || contradictsItsDigest(claim)) {
      this.#convict(claims, teller)
      return
    }
    // before the look at the store: it may be committed between the two
    if (downloads.incoming(digest) !== undefined) accusations.add(claim, teller)
    const truth = await truthAbout(this.#options.store, claim)
    if (truth === undefined) return
    if (contradicts(claim, truth)) this.#convict(claims, teller)
    else log.info({ digest: String(digest), peerId: author, teller }, 'a peer accuses another of what is so')
  }

  /**
   * What two importers signed of the same piece: who brings the blob in weighs it with all else that it hears, who holds it knows.
   * @throws ShoalError CLAIM_INVALID when one of them did not sign it
   */
  async #weighContest(claims: Evidence['claims'], teller: string): Promise<void> {
    const { host, bans, knows, downloads, store } = this.#options
    if (claims.some(({ author }) => author !== host.peerId && (bans.has(author) || !knows(author)))) return
    for (const one of claims)
      if (!(await verifyClaim(host, one))) throw new ShoalError('CLAIM_INVALID', 'evidence that nobody signed')
    const { digest, size } = claims[0]
    const incoming = downloads.incoming(digest)
    for (const one of claims) {
      if (one.author === host.peerId) continue
      if (incoming?.geometry.size === size) incoming.book.add(one)
      const truth = await truthAbout(store, one)
      if (truth !== undefined && contradicts(one, truth)) this.#convict([one], teller)
    }
    incoming?.bell.ring()
  }

  #convict(claims: Evidence['claims'], teller: string): void {
    const { bans, log } = this.#options
    const [{ author, digest }, other] = claims
    log.info({ digest: String(digest), peerId: author, teller }, 'what a peer was shown to have signed is proven wrong')
    bans.add(
      author,
      other === undefined ? `signed a wrong piece list of ${digest}` : `signed two piece lists of ${digest}`,
      claims,
    )
  }

  async #tell(ban: Ban): Promise<void> {
    const evidence = evidenceIn(ban.evidence)
    const digest = evidence[0]?.claims[0].digest
    if (digest === undefined) return
    await this.#show(`${ban.peerId} ${digest}`, ban.peerId, digest, evidence)
  }

  /** This node's own statement, or that of somebody who convinced it, beside that of the importer who says otherwise. */
  async #tellContest({ digest, size, index, hash, against, by }: Contest): Promise<void> {
    const one = by ?? (await signClaim(this.#options.host, { kind: 'import', digest, size, first: index, hashes: [hash] }))
    const key = `contest ${one.author} ${against.author} ${digest}`
    await this.#show(key, against.author, digest, [{ claims: [one, against] }])
  }

  /** @param key what is shown once */
  async #show(key: string, accused: string, digest: Digest, evidence: readonly Evidence[]): Promise<void> {
    const { host, clock, random } = this.#options
    if (this.#known.has(key) || !(await this.#mayTell(digest))) return
    if (!this.#told.take(clock.now(), TO_ALL)) return
    this.#known.add(key)
    if (this.#known.size > MAX_REMEMBERED) this.#known.delete(this.#known.values().next().value as string)
    const others = host.peers().filter(({ id }) => id !== accused)
    const told = sample(others, MAX_TOLD, random)
    await Promise.all(told.map(({ id, address }) => this.#tellOne({ id, addresses: [address] }, evidence)))
  }

  /** What came with a client's own credentials is nobody else's business: not even that it is here. */
  async #mayTell(digest: Digest): Promise<boolean> {
    const { downloads, store, shared } = this.#options
    if (shared) return true
    const coming = downloads.active(digest)
    if (coming !== undefined) return coming.restrictedTo === undefined
    const blob = await store.open(digest)
    if (blob === undefined) return true
    await using held = blob
    return held.meta.restrictedTo === undefined
  }

  async #tellOne(peer: PeerRef, evidence: readonly Evidence[]): Promise<void> {
    const { host, clock, log } = this.#options
    const late = new AbortController()
    const cancelTimeout = clock.after(TELL_MS, () => late.abort(new ShoalError('PEER_TIMEOUT', 'it does not listen')))
    const signal = AbortSignal.any([late.signal, this.#closing.signal])
    let channel: Channel | undefined
    const onAbort = () => channel?.abort(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      for (const one of evidence) {
        channel = await host.open(peer, EVIDENCE_PROTOCOL, { signal })
        signal.throwIfAborted()
        await Promise.all([writeOnlyFrame(channel, encodeEvidence(one)), channel.read(refuse)])
      }
    } catch (err) {
      channel?.abort(err as Error)
      log.debug({ peerId: peer.id, err }, 'a peer does not take evidence')
    } finally {
      signal.removeEventListener('abort', onAbort)
      cancelTimeout()
    }
  }
}

/** What of a ban's evidence others can check: two claims that can't both be so, or else each that a holder of the whole can tell to be wrong. */
export function evidenceIn(claims: readonly Claim[]): Evidence[] {
  const complete = claims.filter((claim) => claim.kind === 'complete')
  const both = contradictoryPair(complete)
  return both === undefined ? complete.map((claim) => ({ claims: [claim] })) : [{ claims: both }]
}

/** Nothing is said to who shows evidence. */
function refuse(): never {
  throw new ShoalError('MESSAGE_MALFORMED', 'an answer where none is due')
}

/** Of a blob that is held whole, as far as the claim is about it. */
async function truthAbout(store: Store, { digest, first, hashes }: Claim): Promise<Truth | undefined> {
  const blob = await store.open(digest)
  if (blob === undefined) return undefined
  await using held = blob
  if (!held.complete) return undefined
  const right = await held.hashes(first, hashes.length)
  return { size: held.geometry.size, hash: (index) => right[index - first] }
}
