import { digestOf } from '../protocols/digest.ts'
import type { TagQuestion } from '../protocols/tag/codec.ts'
import type { Clock } from './clock.ts'
import type { TagAsker, TagWord, Vouching } from './discovery/vouch.ts'
import { codeOf } from './errors.ts'
import type { PeerRef } from './net/host.ts'
import { BoundedMap } from './origin/bounded-map.ts'
import { firstTwo } from './rendezvous/order.ts'
import { answerMs } from './rendezvous/policy.ts'
import { type Heard, nameOf, TAG_TTL_MS, TagDesk, type TagDeskOptions, type TagReference } from './tag-desk.ts'

/** Added to what any answer takes in a zone of this size: asking the registry in the voucher's place, as all would, costs more than a wait. */
const SIGN_MS = 750
const ANSWER_MS = 8_000
/** A resolver that stays silent is passed over for so long, and one whose word was wrong for so long. */
const SILENT_MS = 10_000
const DISTRUST_MS = 600_000
/** How many askers of a zone, on average, check what a resolver has said. */
const CHECKS = 0.25
const MAX_PASSED_OVER = 2_000

/** What a tag means, and on whose word. */
export interface ResolvedWord extends Heard {
  /** Who says that the registry said so; `undefined`: the registry itself. */
  readonly peerId: string | undefined
}

export interface ZoneTagsOptions extends Omit<TagDeskOptions, 'resolvesFor'> {
  /** This node's own peer id. */
  readonly self: string
  /** This node's zone, without itself. */
  readonly members: () => readonly PeerRef[]
  readonly vouching: Pick<Vouching, 'askOne'>
  /** `registry`: this node asks for itself. */
  readonly ask: 'zone' | 'registry'
  readonly clock: Clock
  readonly random: () => number
}

/**
 * What tags mean, asked of a registry once for the whole zone: for each tag one member is the resolver (protocols/tag/SPEC.md). This
 * node asks the resolver, and is it for the others where its turn is.
 */
export class ZoneTags {
  readonly #options: ZoneTagsOptions
  readonly #desk: TagDesk
  /** Until when a member is not asked. */
  readonly #passedOver = new BoundedMap<string, number>(MAX_PASSED_OVER)

  constructor(options: ZoneTagsOptions) {
    this.#options = options
    this.#desk = new TagDesk({ ...options, resolvesFor: (peerId, name) => this.#resolvesFor(peerId, name) })
  }

  /** For this node's own clients. @throws ShoalError as Origin.resolveTag */
  async resolve(reference: TagReference, { signal }: { signal: AbortSignal }): Promise<ResolvedWord> {
    const told = await this.#askZone(reference, signal)
    if (told !== undefined && !this.#checks()) return told
    try {
      const head = await this.#desk.ask(reference, { signal })
      if (told !== undefined && !head.digest.equals(told.digest)) this.#distrust(told, reference)
      return { ...head, peerId: undefined }
    } catch (error) {
      signal.throwIfAborted()
      const missing = codeOf(error) === 'ORIGIN_NOT_FOUND'
      if (told !== undefined && missing) this.#distrust(told, reference)
      if (told === undefined || missing) throw error
      return told
    }
  }

  /** For other members. */
  answer(question: TagQuestion, asker: TagAsker): Promise<TagWord> {
    return this.#desk.answer(question, asker)
  }

  /** What the zone's resolver says, if it is young enough; `undefined` when the registry is to be asked. */
  async #askZone(reference: TagReference, signal: AbortSignal): Promise<ResolvedWord | undefined> {
    const { ask, records, self, members, clock } = this.#options
    if (ask === 'registry') return undefined
    const { registry, repository, tag } = reference
    const name = nameOf(reference)
    // what only a client's own credentials could see, nobody else can say
    if ((await records.get(name))?.restricted === true) return undefined
    const zone = new Map(members().map((peer) => [peer.id, peer]))
    for (const id of resolvers(name, [self, ...zone.keys()])) {
      const peer = zone.get(id)
      if (peer === undefined) return undefined
      if ((this.#passedOver.get(id) ?? 0) > clock.now()) continue
      const answer = await this.#askOne({ registry, repository, tag, maxAgeMs: TAG_TTL_MS }, peer, zone.size, signal)
      if (answer === undefined) continue
      if (!answer.known || answer.ageMs >= TAG_TTL_MS) return undefined
      const { digest, mediaType, size, ageMs } = answer
      return { digest, mediaType, size, ageMs, usedAuthorization: false, peerId: id }
    }
    return undefined
  }

  /** `undefined` from a member that does not answer. @throws the signal's reason */
  async #askOne(question: TagQuestion, peer: PeerRef, zone: number, signal: AbortSignal): Promise<TagWord | undefined> {
    const { vouching, clock, log } = this.#options
    const signMs = SIGN_MS + answerMs(zone)
    try {
      return await vouching.askOne(question, peer, { signMs, answerMs: ANSWER_MS, signal })
    } catch (error) {
      signal.throwIfAborted()
      this.#passedOver.set(peer.id, clock.now() + SILENT_MS)
      log.debug({ ...question, peerId: peer.id, code: codeOf(error) }, 'the resolver of a tag does not answer')
      return undefined
    }
  }

  /** Now and then, by chance. */
  #checks(): boolean {
    const { random, members } = this.#options
    return random() * (members().length + 1) < CHECKS
  }

  #distrust({ peerId }: ResolvedWord, reference: TagReference): void {
    const { clock, log } = this.#options
    log.warn(
      { tag: nameOf(reference), peerId },
      'a member says of a tag what the registry does not: its word is not taken for a while',
    )
    this.#passedOver.set(String(peerId), clock.now() + DISTRUST_MS)
  }

  #resolvesFor(peerId: string, name: string): boolean {
    const { self, members } = this.#options
    const ids = members().map(({ id }) => id)
    return ids.includes(peerId) && resolvers(name, [self, ...ids]).includes(self)
  }
}

/** Who asks the registry about a tag, and who stands in for it. */
function resolvers(name: string, peerIds: Iterable<string>): readonly string[] {
  return firstTwo(digestOf(Buffer.from(name)), peerIds)
}
