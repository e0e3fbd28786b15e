import assert from 'node:assert/strict'
import { type TestContext, test } from 'node:test'
import fc from 'fast-check'
import type { Digest } from '../../protocols/digest.ts'
import { ShoalError } from '../../src/errors.ts'
import type { Channel } from '../../src/net/channel.ts'
import type { Host } from '../../src/net/host.ts'
import { VirtualTime } from '../helpers/virtual-time.ts'
import { content, createWorld, PIECE, type TestNode, type World } from './rig.ts'
import { BLOB_SOURCE, type OriginScript, Tap } from './scripted-origin.ts'

const ORIGINS = ['none', 'good', 'refuses', 'cuts', 'wakes', 'hangs'] as const
type OriginKind = (typeof ORIGINS)[number]

/** Origins from which a node that goes on asking gets everything, whatever its peers do. */
const SOUND: ReadonlySet<OriginKind> = new Set(['good', 'refuses', 'cuts', 'wakes'])

interface Plan {
  readonly pieces: number
  readonly nodes: readonly { readonly origin: OriginKind; readonly joinsAt: number }[]
  readonly events: readonly {
    readonly at: number
    readonly what: 'kill' | 'leave' | 'cut' | 'part' | 'heal'
    readonly who: number
    readonly other: number
  }[]
}

const plan: fc.Arbitrary<Plan> = fc.record({
  pieces: fc.integer({ min: 1, max: 9 }),
  nodes: fc.array(fc.record({ origin: fc.constantFrom(...ORIGINS), joinsAt: fc.nat(1_500) }), { minLength: 1, maxLength: 5 }),
  events: fc.array(
    fc.record({
      at: fc.nat(3_000),
      what: fc.constantFrom('kill', 'leave', 'cut', 'cut', 'part', 'heal'),
      who: fc.nat(4),
      other: fc.nat(4),
    }),
    { maxLength: 6 },
  ),
})

/** What an idle link may stay open for, and then some. */
const IDLE_MS = 130_000
const DEADLINE_MS = 600_000

test('whoever joins, dies, is cut off, hangs or refuses, and when: everybody completes or says why, and nothing is left over', async () => {
  await fc.assert(
    fc.asyncProperty(plan, (one) => run(one)),
    { numRuns: 50 },
  )
})

async function run(one: Plan): Promise<void> {
  const cleanups: (() => unknown)[] = []
  const time = new VirtualTime()
  const watched = new WatchedHosts()
  time.busy = () => watched.busy
  try {
    const world = createWorld({ after: (cleanup: () => unknown) => void cleanups.push(cleanup) } as unknown as TestContext)
    const { bytes, digest } = content(one.pieces * PIECE - 100)
    const members = await Promise.all(
      one.nodes.map(async ({ origin, joinsAt }) => {
        const host = watched.watch(world.network.host())
        const script = scriptOf(origin, bytes)
        const node = await world.node({ host, zone: true, ...(script === undefined ? {} : { origin: script }) })
        return new Member(node, origin, joinsAt)
      }),
    )
    for (const member of members) setTimeout(() => void member.pull(digest, bytes), member.joinsAt)
    for (const event of one.events) setTimeout(() => happen(event, members, world), event.at)

    const settled = await time.until(() => members.every(({ outcome }) => outcome !== undefined), DEADLINE_MS)
    assert.ok(settled, `somebody waits for ever: ${JSON.stringify(members.map(({ origin, outcome }) => [origin, outcome]))}`)
    for (const member of members) {
      if (member.gone) continue
      if (SOUND.has(member.origin)) assert.equal(member.outcome, 'right', `${member.origin}: ${JSON.stringify(member.log)}`)
      assert.deepEqual(member.node.bans.list(), [], 'nobody lied')
    }
    await time.pass(IDLE_MS)
    for (const { node, gone } of members) {
      if (gone) continue
      assert.deepEqual(node.downloads.progress(), [])
      assert.equal(node.downloads.incoming(digest), undefined)
      assert.equal(node.origin.openBodies, 0, 'an origin is still being read')
    }
    assert.deepEqual(watched.open(), [], 'streams are left open')
  } finally {
    const closing = Promise.all(cleanups.map((cleanup) => cleanup()))
    let closed = false
    closing.finally(() => (closed = true)).catch(() => {})
    const done = await time.until(() => closed, 60_000)
    await time.pass(100)
    time[Symbol.dispose]()
    assert.ok(done, 'closing takes for ever')
    assert.deepEqual(watched.open(), [], 'streams outlive their nodes')
    assert.equal(time.pending, 0, 'timers outlive their nodes')
  }
}

class Member {
  readonly node: TestNode
  readonly origin: OriginKind
  readonly joinsAt: number
  readonly #leaving = new AbortController()
  outcome: string | undefined
  /** Killed, or not interested any more: what becomes of its pull is nobody's business. */
  gone = false

  constructor(node: TestNode, origin: OriginKind, joinsAt: number) {
    this.node = node
    this.origin = origin
    this.joinsAt = joinsAt
  }

  get log(): unknown[] {
    return this.node.log.filter(({ level }) => Number(level) >= 30).slice(-5)
  }

  /** As a client does: a few times. Never ends with a wrong body. */
  async pull(digest: Digest, bytes: Buffer): Promise<void> {
    const options = this.origin === 'none' ? {} : { origin: BLOB_SOURCE }
    for (let tries = 1; this.outcome === undefined; tries++) {
      try {
        const got = await this.node.read(digest, { ...options, signal: this.#leaving.signal })
        this.outcome = got.equals(bytes) ? 'right' : 'WRONG'
      } catch (error) {
        if (this.#leaving.signal.aborted) this.outcome = 'left'
        else if (!(error instanceof ShoalError)) this.outcome = `UNEXPECTED ${(error as Error).stack}`
        else if (tries === 4) this.outcome = error.code
        else await new Promise((resolve) => setTimeout(resolve, 1_000))
      }
    }
    assert.doesNotMatch(this.outcome, /^(WRONG|UNEXPECTED)/)
  }

  leave(): void {
    this.gone = true
    this.#leaving.abort(new Error('not any more'))
  }

  kill(): void {
    this.leave()
    void this.node.host[Symbol.asyncDispose]()
  }
}

function happen({ what, who, other }: Plan['events'][number], members: readonly Member[], { network }: World): void {
  const a = members[who % members.length] as Member
  const b = members[other % members.length] as Member
  if (what === 'kill') a.kill()
  if (what === 'leave') a.leave()
  if (what === 'heal') network.heal()
  if (a === b) return
  if (what === 'cut') network.cut(a.node.host, b.node.host)
  if (what === 'part') network.partition([a.node.host], [b.node.host])
}

function scriptOf(kind: OriginKind, bytes: Uint8Array): OriginScript | undefined {
  const refuse = (nth: number) => (nth % 3 === 1 ? new ShoalError('ORIGIN_FAILED', '503') : undefined)
  switch (kind) {
    case 'none':
      return undefined
    case 'good':
      return { bytes }
    case 'refuses':
      return { bytes, refuse }
    case 'cuts':
      return { bytes, cutAfterBytes: Math.floor(1.6 * PIECE) }
    case 'wakes': {
      const tap = new PatientTap()
      setTimeout(() => tap.open(), 4_000)
      return { bytes, tap }
    }
    case 'hangs':
      return { bytes, tap: new PatientTap() }
  }
}

/** An origin that sends nothing, and what its client does about that in the end. */
class PatientTap extends Tap {
  override async passes(at: number, signal: AbortSignal): Promise<number> {
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(new ShoalError('ORIGIN_TIMEOUT', 'the origin made no progress')), 20_000)
    try {
      return await super.passes(at, AbortSignal.any([signal, late.signal]))
    } finally {
      clearTimeout(timer)
    }
  }
}

/** Knows which streams are open, and whether a signature is being made or checked. */
class WatchedHosts {
  readonly #channels = new Set<Channel>()
  #signing = 0

  get busy(): boolean {
    return this.#signing > 0
  }

  open(): string[] {
    return [...this.#channels].map(({ protocol }) => protocol)
  }

  watch(host: Host): Host {
    const [open, handle, sign, verify] = [
      host.open.bind(host),
      host.handle.bind(host),
      host.sign.bind(host),
      host.verify.bind(host),
    ]
    host.open = async (peer, protocol, options) => this.#note(await open(peer, protocol, options))
    host.handle = (protocol, limits, serve) => handle(protocol, limits, (channel) => serve(this.#note(channel)))
    host.sign = (bytes) => this.#during(sign(bytes))
    host.verify = (peerId, bytes, signature) => this.#during(verify(peerId, bytes, signature))
    return host
  }

  #note(channel: Channel): Channel {
    if (channel.closed.aborted) return channel
    this.#channels.add(channel)
    channel.closed.addEventListener('abort', () => this.#channels.delete(channel), { once: true })
    return channel
  }

  async #during<T>(work: Promise<T>): Promise<T> {
    this.#signing++
    try {
      return await work
    } finally {
      this.#signing--
    }
  }
}
