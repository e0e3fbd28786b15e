import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { digestOf } from '../protocols/digest.ts'
import type { TagQuestion } from '../protocols/tag/codec.ts'
import { openVouching, type Vouching } from '../src/discovery/vouch.ts'
import { codeOf, type ErrorCode, ShoalError } from '../src/errors.ts'
import type { Host, PeerRef } from '../src/net/host.ts'
import { createMemoryNetwork } from '../src/net/memory.ts'
import type { ManifestHead } from '../src/origin/origin.ts'
import { firstTwo } from '../src/rendezvous/order.ts'
import type { TagRecord } from '../src/store/store.ts'
import { TAG_TTL_MS } from '../src/tag-desk.ts'
import { type Log, SILENT } from '../src/telemetry/log.ts'
import { type ResolvedWord, ZoneTags } from '../src/zone-tags.ts'
import { VirtualClock } from './discovery/virtual-clock.ts'

const NGINX = { registry: 'docker.io', repository: 'library/nginx', tag: 'latest' }
const NAME = 'docker.io/library/nginx:latest'
const NEVER = { signal: new AbortController().signal }
const MEDIA_TYPE = 'application/vnd.oci.image.manifest.v1+json'

function headOf(text: string, usedAuthorization = false): ManifestHead {
  return { digest: digestOf(Buffer.from(text)), mediaType: MEDIA_TYPE, size: 7, usedAuthorization }
}

/** A registry that all nodes ask. */
class Registry {
  says: ManifestHead | ErrorCode = headOf('one')
  /** Who sees it in his own name only. */
  readonly wants = new Set<string>()
  tookMs = 0
  readonly asked: { node: string; authorization: string | undefined }[] = []
  readonly #clock: VirtualClock

  constructor(clock: VirtualClock) {
    this.#clock = clock
  }

  async resolveTag(node: string, authorization: string | undefined): Promise<ManifestHead> {
    this.asked.push({ node, authorization })
    if (this.tookMs > 0) await new Promise<void>((resolve) => this.#clock.after(this.tookMs, resolve))
    if (typeof this.says === 'string') throw new ShoalError(this.says, 'no')
    if (this.wants.size === 0) return this.says
    if (!this.wants.has(authorization ?? '')) throw new ShoalError('ORIGIN_UNAUTHORIZED', 'credentials are wanted')
    return { ...this.says, usedAuthorization: true }
  }
}

interface Member {
  readonly host: Host
  readonly tags: ZoneTags
  readonly vouching: Vouching
  readonly records: Map<string, TagRecord>
  readonly warnings: string[]
  /** Whom it believes to be in its zone besides itself. */
  view: readonly PeerRef[]
  /** Nothing of it is answered any more. */
  silent: boolean
  /** Says this instead of what it knows. */
  lie: ManifestHead | undefined
}

interface Zone {
  readonly clock: VirtualClock
  readonly registry: Registry
  /** In the order in which they resolve the tag. */
  readonly members: readonly [Member, Member, ...Member[]]
}

async function zoneOf(
  t: TestContext,
  count: number,
  options: { random?: () => number; ask?: 'zone' | 'registry' } = {},
): Promise<Zone> {
  const clock = new VirtualClock()
  const network = createMemoryNetwork()
  const registry = new Registry(clock)
  const members = new Map<string, Member>()
  for (let i = 0; i < count; i++) {
    const host = network.host({ id: `member ${i}` })
    const records = new Map<string, TagRecord>()
    const warnings: string[] = []
    const log: Log = { ...SILENT, warn: (_: unknown, message: string) => warnings.push(message) } as unknown as Log
    const vouching = await openVouching({
      host,
      log: SILENT,
      clock,
      lookup: async (question, asker) => {
        if (member.silent) return await new Promise(() => {})
        const { lie } = member
        if (lie !== undefined) return { known: true, digest: lie.digest, mediaType: lie.mediaType, size: lie.size, ageMs: 0 }
        return await tags.answer(question, asker)
      },
    })
    const tags = new ZoneTags({
      self: host.peerId,
      members: () => member.view,
      vouching,
      origin: { resolveTag: ({ authorization }) => registry.resolveTag(host.peerId, authorization) },
      records: {
        get: async (name) => records.get(name),
        set: async (name, record) => void records.set(name, record),
      },
      ask: options.ask ?? 'zone',
      clock,
      wallClock: () => clock.now(),
      random: options.random ?? (() => 0.99),
      log,
    })
    const member: Member = { host, tags, vouching, records, warnings, view: [], silent: false, lie: undefined }
    members.set(host.peerId, member)
  }
  const refs = [...members.values()].map(({ host }) => ({ id: host.peerId, addresses: host.addresses() }))
  for (const [id, member] of members) member.view = refs.filter((ref) => ref.id !== id)
  t.after(async () => {
    for (const { vouching, host } of members.values()) {
      await vouching[Symbol.asyncDispose]()
      await host[Symbol.asyncDispose]()
    }
  })
  const first = firstTwo(digestOf(Buffer.from(NAME)), members.keys())
  const ids = [...first, ...[...members.keys()].filter((id) => !first.includes(id))]
  return { clock, registry, members: ids.map((id) => members.get(id) as Member) as unknown as Zone['members'] }
}

/** Waits for it in virtual time. */
async function soon<T>(clock: VirtualClock, promise: Promise<T>, ms = 30_000): Promise<T> {
  const outcome: { settled: boolean } = { settled: false }
  promise.then(
    () => {
      outcome.settled = true
    },
    () => {
      outcome.settled = true
    },
  )
  for (let i = 0; i < 50 && !outcome.settled; i++) await turn()
  await clock.until('it is settled', () => outcome.settled, ms)
  return await promise
}

const resolve = ({ tags }: Member, authorization?: string): Promise<ResolvedWord> =>
  tags.resolve({ ...NGINX, authorization }, NEVER)

describe('a tag that a whole zone wants at once', () => {
  it('costs the registry one question, whoever is first, and everybody has the same answer', async (t) => {
    const { clock, registry, members } = await zoneOf(t, 32)
    registry.tookMs = 200
    const all = await soon(clock, Promise.all(members.map((member) => resolve(member))))
    assert.equal(registry.asked.length, 1)
    assert.deepEqual(registry.asked[0], { node: members[0].host.peerId, authorization: undefined })
    for (const word of all) assert.equal(String(word.digest), String(headOf('one').digest))
    assert.deepEqual(
      all.map(({ peerId }) => peerId),
      members.map((_, i) => (i === 0 ? undefined : members[0].host.peerId)),
    )
  })

  it('costs one question also when the resolver itself wants it not', async (t) => {
    const { clock, registry, members } = await zoneOf(t, 8)
    await soon(clock, Promise.all(members.slice(3).map((member) => resolve(member))))
    assert.equal(registry.asked.length, 1)
    await soon(clock, resolve(members[2] as Member))
    assert.equal(registry.asked.length, 1, 'what the resolver has learnt it tells')
    assert.equal(members[0].records.get(NAME)?.restricted, false)
    assert.equal(members[2]?.records.size, 0, 'what was only told is not kept as the registry’s word')
  })

  it('is asked about again when its time is over, and ages on the way', async (t) => {
    const { clock, registry, members } = await zoneOf(t, 4)
    const [, , third] = members
    await soon(clock, resolve(third as Member))
    registry.says = headOf('two')
    await clock.advance(TAG_TTL_MS - 10_000)
    const aged = await soon(clock, resolve(third as Member))
    assert.ok(aged.digest.equals(headOf('one').digest))
    assert.ok(aged.ageMs >= TAG_TTL_MS - 10_000 && aged.ageMs < TAG_TTL_MS)
    await clock.advance(10_000)
    const fresh = await soon(clock, resolve(third as Member))
    assert.ok(fresh.digest.equals(headOf('two').digest))
    assert.ok(fresh.ageMs < 1_000)
    assert.equal(registry.asked.length, 2)
  })

  it('is asked about by each when that is what the operator wants', async (t) => {
    const { clock, registry, members } = await zoneOf(t, 4, { ask: 'registry' })
    await soon(clock, Promise.all(members.map((member) => resolve(member))))
    assert.equal(registry.asked.length, 4)
  })

  it('is asked about by a node that is alone', async (t) => {
    const { clock, registry, members } = await zoneOf(t, 2)
    for (const member of members) member.view = []
    await soon(clock, Promise.all(members.map((member) => resolve(member))))
    assert.equal(registry.asked.length, 2)
  })
})

describe('a resolver', () => {
  it('that is dead or silent is stood in for by the second, and passed over for a while', async (t) => {
    const { clock, registry, members } = await zoneOf(t, 8)
    members[0].silent = true
    const started = clock.now()
    const all = await soon(clock, Promise.all(members.slice(1).map((member) => resolve(member))))
    assert.equal(registry.asked.length, 1)
    assert.equal(registry.asked[0]?.node, members[1].host.peerId)
    assert.ok(clock.now() - started < 2_500, `${clock.now() - started} ms`)
    assert.equal(all.length, 7)
    const again = clock.now()
    await soon(clock, resolve(members[3] as Member))
    assert.equal(clock.now() - again, 0)
    await clock.advance(10_000)
    members[0].silent = false
    await soon(clock, resolve(members[3] as Member))
    assert.equal(registry.asked.at(-1)?.node, members[0].host.peerId)
  })

  it('that is gone with its stand-in leaves each to ask for itself', async (t) => {
    const { clock, registry, members } = await zoneOf(t, 5)
    for (const member of members.slice(0, 2)) await member.host[Symbol.asyncDispose]()
    const all = await soon(clock, Promise.all(members.slice(2).map((member) => resolve(member))))
    assert.deepEqual([all.length, registry.asked.length], [3, 3])
    assert.ok(all.every(({ peerId }) => peerId === undefined))
  })

  it('that waits for a slow registry says so, and is waited for', async (t) => {
    const { clock, registry, members } = await zoneOf(t, 8)
    registry.tookMs = 6_000
    await soon(clock, Promise.all(members.map((member) => resolve(member))))
    assert.equal(registry.asked.length, 1)
  })

  it('whose registry answers it nothing leaves each to ask for itself in the end', async (t) => {
    const { clock, registry, members } = await zoneOf(t, 4)
    registry.says = 'ORIGIN_FAILED'
    const failed = await soon(clock, Promise.allSettled(members.map((member) => resolve(member))))
    for (const one of failed) assert.equal(one.status === 'rejected' && codeOf(one.reason), 'ORIGIN_FAILED')
    const asked = registry.asked.length
    await soon(clock, Promise.allSettled([resolve(members[3] as Member)]))
    const [, ...more] = registry.asked.slice(asked - 1)
    assert.deepEqual(
      more.map(({ node }) => node),
      [(members[3] as Member).host.peerId],
      'the resolver does not ask again at once for others',
    )
  })

  it('asks for members of its zone only, only where its turn is, and only so often', async (t) => {
    const { clock, registry, members } = await zoneOf(t, 6)
    const [first, , third, fourth] = members as unknown as [Member, Member, Member, Member]
    const question = (tag: string): TagQuestion => ({ ...NGINX, tag, maxAgeMs: TAG_TTL_MS })
    const ask = (from: Member, to: Member, tag: string) =>
      from.vouching.askOne(
        question(tag),
        { id: to.host.peerId, addresses: to.host.addresses() },
        {
          signMs: 500,
          answerMs: 8_000,
          ...NEVER,
        },
      )
    assert.deepEqual(await soon(clock, ask(third, fourth, 'latest')), { known: false })
    first.view = first.view.filter(({ id }) => id !== third.host.peerId)
    assert.deepEqual(await soon(clock, ask(third, first, 'latest')), { known: false })
    assert.equal(registry.asked.length, 0)
    assert.equal((await soon(clock, ask(fourth, first, 'latest'))).known, true)
    assert.equal((await soon(clock, ask(third, first, 'latest'))).known, true, 'what it knows it tells anybody')
    const ids = members.map(({ host }) => host.peerId)
    const its = Array.from({ length: 200 }, (_, i) => `v${i}`).filter((tag) =>
      firstTwo(digestOf(Buffer.from(`docker.io/library/nginx:${tag}`)), ids).includes(first.host.peerId),
    )
    let resolved = 0
    for (const tag of its.slice(0, 40)) if ((await soon(clock, ask(fourth, first, tag))).known) resolved++
    assert.equal(resolved, 31, 'and the first one before')
    await clock.advance(500)
    assert.equal((await soon(clock, ask(fourth, first, String(its[41])))).known, true)
  })
})

describe('a tag that is not for everybody', () => {
  it('is asked about by each in its own client’s name, and told to nobody', async (t) => {
    const { clock, registry, members } = await zoneOf(t, 4)
    registry.wants.add('Basic alice')
    const words = await soon(clock, Promise.all(members.map((member) => resolve(member, 'Basic alice'))))
    assert.ok(words.every(({ usedAuthorization, peerId }) => usedAuthorization && peerId === undefined))
    assert.equal(registry.asked.filter(({ authorization }) => authorization === 'Basic alice').length, 4)
    const anonymous = registry.asked.filter(({ authorization }) => authorization === undefined)
    assert.ok(anonymous.length <= 1, `${anonymous.length} questions for nobody`)
    await assert.rejects(soon(clock, resolve(members[3] as Member)), (error) => codeOf(error) === 'ORIGIN_UNAUTHORIZED')
  })

  it('is not asked of the zone where it is known to be private, nor told by whom it is known to', async (t) => {
    const { clock, registry, members } = await zoneOf(t, 3)
    const record = { ...headOf('one'), checkedAt: clock.now(), restricted: true }
    members[0].records.set(NAME, record)
    registry.wants.add('Basic alice')
    await soon(clock, resolve(members[1], 'Basic alice'))
    assert.deepEqual(registry.asked, [{ node: members[1].host.peerId, authorization: 'Basic alice' }])
    ;(members[2] as Member).records.set(NAME, record)
    members[0].silent = true
    const started = clock.now()
    await soon(clock, resolve(members[2] as Member, 'Basic alice'))
    assert.equal(clock.now(), started)
  })

  it('and one that is for everybody is told to clients with credentials too', async (t) => {
    const { clock, registry, members } = await zoneOf(t, 4)
    await soon(clock, Promise.all(members.slice(1).map((member) => resolve(member, 'Basic alice'))))
    assert.deepEqual(registry.asked, [{ node: members[0].host.peerId, authorization: undefined }])
  })
})

describe('a resolver that lies', () => {
  const lie = headOf('a lie')

  it('is found out by one of its askers, who goes by the registry and takes its word no more', async (t) => {
    const { clock, registry, members } = await zoneOf(t, 8, { random: () => 0 })
    members[0].lie = lie
    const asker = members[4] as Member
    const word = await soon(clock, resolve(asker))
    assert.deepEqual([word.peerId, String(word.digest)], [undefined, String(headOf('one').digest)])
    assert.equal(asker.warnings.length, 1)
    const asked = registry.asked.length
    await soon(clock, resolve(asker))
    assert.equal(registry.asked[asked]?.node, members[1].host.peerId, 'another is asked instead')
    await clock.advance(600_000)
    await soon(clock, resolve(asker))
    assert.equal(asker.warnings.length, 2)
  })

  it('is found out also about a tag that there is not', async (t) => {
    const { clock, registry, members } = await zoneOf(t, 4, { random: () => 0 })
    members[0].lie = lie
    registry.says = 'ORIGIN_NOT_FOUND'
    const asker = members[2] as Member
    await assert.rejects(soon(clock, resolve(asker)), (error) => codeOf(error) === 'ORIGIN_NOT_FOUND')
    assert.equal(asker.warnings.length, 1)
  })

  it('is not thought one because the registry can not be asked', async (t) => {
    const { clock, registry, members } = await zoneOf(t, 4, { random: () => 0 })
    const asker = members[2] as Member
    await soon(clock, resolve(members[0]))
    members[0].lie = headOf('one')
    registry.says = 'ORIGIN_RATE_LIMITED'
    const word = await soon(clock, resolve(asker))
    assert.equal(word.peerId, members[0].host.peerId)
    assert.deepEqual(asker.warnings, [])
  })

  it('is checked by about a quarter of an asker of each zone', async (t) => {
    let drawn = 0
    const random = () => ((drawn++ * 7) % 100) / 100
    const { clock, registry, members } = await zoneOf(t, 10, { random })
    for (let i = 0; i < 20; i++) {
      await soon(clock, Promise.all(members.map((member) => resolve(member))))
      await clock.advance(TAG_TTL_MS)
    }
    const checks = registry.asked.length - 20
    assert.ok(checks >= 3 && checks <= 8, `${checks} checks in twenty rounds of ten`)
  })
})

it('who stops waiting for a tag gets the reason of its signal, and the others their answer', async (t) => {
  const { clock, registry, members } = await zoneOf(t, 3)
  registry.tookMs = 1_000
  const abort = new AbortController()
  const reason = new Error('enough')
  const [left, stays] = [members[0].tags.resolve(NGINX, { signal: abort.signal }), resolve(members[0])]
  const away = members[1].tags.resolve(NGINX, { signal: abort.signal })
  setImmediate(() => abort.abort(reason))
  await assert.rejects(left, reason)
  await assert.rejects(away, reason)
  assert.ok((await soon(clock, stays)).digest.equals(headOf('one').digest))
  assert.equal(registry.asked.length, 1)
})

it('a store that can not record a tag does not fail the answer', async (t) => {
  const { clock, members } = await zoneOf(t, 2)
  members[0].records.set = () => {
    throw new ShoalError('STORE_FULL', 'no room')
  }
  assert.equal((await soon(clock, resolve(members[0]))).peerId, undefined)
  assert.deepEqual(members[0].warnings, ['the tag could not be recorded'])
  assert.equal((await soon(clock, resolve(members[1]))).peerId, members[0].host.peerId)
})

it('a registry is asked once in a time-to-live by a node, however often and for whomever', async (t) => {
  const { clock, registry, members } = await zoneOf(t, 2)
  for (let i = 0; i < 6; i++) {
    await soon(clock, Promise.all(members.map((member) => resolve(member))))
    await clock.advance(TAG_TTL_MS / 3)
  }
  assert.equal(registry.asked.length, 2)
})
