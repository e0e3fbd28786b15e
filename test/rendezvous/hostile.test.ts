import assert from 'node:assert/strict'
import { test } from 'node:test'
import { digestOf } from '../../protocols/digest.ts'
import { createFrameDecoder, encodeFrame } from '../../protocols/frame.ts'
import { geometryOf } from '../../protocols/pieces.ts'
import {
  type CounterMessage,
  decodeRendezvousMessage,
  encodeRendezvousMessage,
  type MemberMessage,
  RENDEZVOUS_PROTOCOL,
  type RendezvousMessage,
} from '../../protocols/rendezvous/codec.ts'
import { MAX_RENDEZVOUS_MESSAGE_BYTES } from '../../protocols/rendezvous/limits.ts'
import type { Channel } from '../../src/net/channel.ts'
import type { Host, PeerRef } from '../../src/net/host.ts'
import { Office } from '../../src/rendezvous/office.ts'
import { answerMs, stillMs } from '../../src/rendezvous/policy.ts'
import type { Membership } from '../../src/rendezvous/rendezvous.ts'
import { seeded, VirtualClock } from '../discovery/virtual-clock.ts'
import { AT_ONCE, ask, NEVER, range, settle, withZone, type Zone, type ZoneNode } from './rig.ts'

const MiB = 1024 * 1024
/** The smallest blob whose leases are of four pieces. */
const SIZE = 256 * MiB
const digest = digestOf(Buffer.from('a layer'))
const ALL = range(0, geometryOf(SIZE).pieces - 1)
const frame = (message: RendezvousMessage) => encodeFrame(encodeRendezvousMessage(message))
const register: MemberMessage = { type: 'register', digest, size: SIZE, desk: 0, insist: true, addresses: [] }

/** Somebody who says what it likes to a rendezvous, and what it is told. */
interface Guest {
  readonly channel: Channel
  readonly told: RendezvousMessage[]
  say(...messages: RendezvousMessage[]): Promise<void>
}

async function visit(host: Host, ref: PeerRef): Promise<Guest> {
  const channel = await host.open(ref, RENDEZVOUS_PROTOCOL, { signal: NEVER })
  const told: RendezvousMessage[] = []
  const decoder = createFrameDecoder(MAX_RENDEZVOUS_MESSAGE_BYTES, (bytes) => told.push(decodeRendezvousMessage(bytes)))
  channel.read((chunk) => decoder.push(chunk)).catch(() => {})
  return { channel, told, say: (...messages) => channel.write(messages.map(frame)) }
}

/** A rendezvous with two honest members, and a stranger's host. */
async function visited(
  run: (at: { zone: Zone; ref: PeerRef; host: Host; members: readonly Membership[] }) => Promise<void>,
): Promise<void> {
  await withZone(3, async (zone) => {
    const order = zone.inOrder(digest)
    const members = order.map((node) => node.rendezvous.join(digest, SIZE))
    await Promise.all(members.map((member) => member.introduced))
    const host = zone.network.host()
    try {
      await run({ zone, ref: (order[0] as ZoneNode).ref, host, members })
      const { grant } = await ask(zone, members[2] as Membership, ALL, SIZE)
      assert.notEqual(grant, undefined, 'the honest are not served any more')
    } finally {
      await host[Symbol.asyncDispose]()
    }
  })
}

const nonsense: [string, Uint8Array][] = [
  ['garbage', encodeFrame(Uint8Array.of(99, 1, 2, 3))],
  ['an empty message', Uint8Array.of(0, 0, 0, 0)],
  ['a message longer than members send', Uint8Array.of(0, 0, 0x80, 0)],
  ['what only a rendezvous says', frame({ type: 'wait', digest, request: 1, retryMs: 0 })],
]
for (const [what, bytes] of nonsense) {
  test(`a member that sends ${what} loses its stream, and nobody else anything`, async () => {
    await visited(async ({ host, ref }) => {
      const guest = await visit(host, ref)
      await guest.channel.write([bytes])
      await settle()
      assert.equal(guest.channel.closed.aborted, true)
    })
  })
}

test('a flood of questions is told to wait, a flood of messages is cut', async () => {
  await visited(async ({ host, ref }) => {
    const guest = await visit(host, ref)
    await guest.say(register)
    for (let i = 1; i <= 700; i++)
      await guest.say({ type: 'ask', digest, request: i, size: SIZE, ranges: [{ first: 63, count: 1 }] })
    await settle()
    assert.equal(guest.told.filter((one) => one.type === 'grant').length, 1)
    assert.equal(guest.told.filter((one) => one.type === 'wait').length, 699)
    for (let i = 0; i < 60; i++)
      await guest.say(...Array.from({ length: 100 }, () => ({ type: 'alive', digest, lease: 1 }) as const)).catch(() => {})
    await settle()
    assert.equal(guest.channel.closed.aborted, true)
  })
})

test('a member that registers for everything is cut', async () => {
  await visited(async ({ host, ref }) => {
    const guest = await visit(host, ref)
    for (let i = 0; i < 1_200; i++) await guest.say({ ...register, digest: digestOf(Buffer.from(`${i}`)) }).catch(() => {})
    await settle()
    assert.equal(guest.channel.closed.aborted, true)
  })
})

test('nobody can speak for the lease of another', async () => {
  await visited(async ({ zone, host, ref, members }) => {
    const { grant } = await ask(zone, members[1] as Membership, ALL, SIZE)
    assert.equal(grant?.first, 0)
    const guest = await visit(host, ref)
    await guest.say(register)
    for (let lease = 0; lease < 20; lease++) {
      await guest.say(
        { type: 'end', digest, lease, done: false, retryAfterMs: 30_000 },
        { type: 'progress', digest, lease, index: 0 },
        { type: 'opened', digest, lease, size: 5, streams: true },
      )
    }
    await settle()
    const { grant: next } = await ask(zone, members[2] as Membership, ALL, SIZE)
    assert.equal(next?.first, 4)
    next?.end({ ok: true })
    await settle()
    await zone.clock.advance(1)
  })
})

test('a member that does not read what it is told is cut', async () => {
  await visited(async ({ host, ref }) => {
    const channel = await host.open(ref, RENDEZVOUS_PROTOCOL, { signal: NEVER })
    const questions = (from: number) =>
      Array.from({ length: 200 }, (_, i) => frame({ type: 'ask', digest, request: from + i, size: SIZE, ranges: [] }))
    await channel.write([frame(register)])
    for (let i = 0; i < 24; i++) await channel.write(questions(i * 200)).catch(() => {})
    await settle()
    channel.abort(new Error('enough'))
  })
})

/** One honest node, and a rendezvous that answers as told. */
async function against(
  answer: (message: MemberMessage) => CounterMessage[],
  run: (member: Membership, zone: Zone) => Promise<void>,
  { size = SIZE, others = [], seed = 1 }: { size?: number; others?: readonly PeerRef[]; seed?: number } = {},
): Promise<void> {
  await withZone(
    1,
    async (zone) => {
      const [node] = zone.nodes as [ZoneNode]
      const peers: Host[] = []
      // enough that two of them come before the honest one
      for (let i = 0; i < 24; i++) peers.push(zone.network.host())
      for (const host of peers) {
        await host.handle(RENDEZVOUS_PROTOCOL, { maxInboundStreams: 4 }, async (channel) => {
          const decoder = createFrameDecoder(4096, (bytes) => {
            const answers = answer(decodeRendezvousMessage(bytes) as MemberMessage)
            if (answers.length > 0) channel.write(answers.map(frame)).catch(() => {})
          })
          await channel.read((chunk) => decoder.push(chunk))
        })
      }
      node.view = [node.ref, ...peers.map((host) => ({ id: host.peerId, addresses: host.addresses() })), ...others]
      const member = node.rendezvous.join(digest, size === 0 ? undefined : size)
      try {
        await run(member, zone)
      } finally {
        await member[Symbol.asyncDispose]()
        for (const host of peers) await host[Symbol.asyncDispose]()
      }
    },
    seed,
  )
}

const welcome: CounterMessage = { type: 'members', digest, size: 0, active: true, peers: [] }

test('whoever is told to wait for ever imports by itself in the end, one piece after the other', async () => {
  await against(
    (message) => {
      if (message.type === 'register') return [welcome]
      return message.type === 'ask' ? [{ type: 'wait', digest, request: message.request, retryMs: 30_000 }] : []
    },
    async (member, zone) => {
      await member.introduced
      const started = zone.clock.now()
      let missing = ALL
      const next = async (untilMs: number) => {
        for (;;) {
          const { grant } = await ask(zone, member, missing, SIZE)
          if (grant !== undefined) return grant
          assert.ok(zone.clock.now() - started < untilMs, 'starved')
          await zone.clock.advance(1_000)
        }
      }
      for (let lease = 0; lease < 8; lease++) {
        const grant = await next(60_000)
        assert.ok(zone.clock.now() - started > 30_000)
        for (let index = grant.first; index <= grant.last; index++) grant.progress(index, SIZE)
        grant.end({ ok: true })
        missing = missing.filter((index) => index < grant.first || index > grant.last)
      }
    },
  )
})

test('a grant about a blob of another size is not taken, nor one that nobody asked for', async () => {
  const ended: number[] = []
  await against(
    (message) => {
      if (message.type === 'register')
        return [welcome, { type: 'grant', digest, request: 7_777, lease: 5, size: SIZE, first: 0, count: 1 }]
      if (message.type === 'end') ended.push(message.lease)
      return message.type === 'ask'
        ? [{ type: 'grant', digest, request: message.request, lease: 6, size: 2 * SIZE, first: 0, count: 1 }]
        : []
    },
    async (member, zone) => {
      await member.introduced
      const { grant } = await ask(zone, member, ALL, SIZE)
      assert.equal(grant?.size, SIZE)
      await settle()
      assert.deepEqual([...new Set(ended)].sort(), [5, 6])
    },
  )
})

test('peers that send each other on and on are not followed', async () => {
  let registrations = 0
  await against(
    (message) => {
      if (message.type !== 'register' || ++registrations > 100) return []
      return [
        {
          type: 'redirect',
          digest,
          peer: { id: '12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp', addresses: ['/ip4/10.9.9.9/tcp/1'] },
        },
      ]
    },
    async (member, zone) => {
      const { grant, tookMs } = await ask(zone, member, ALL, SIZE)
      assert.notEqual(grant, undefined)
      assert.ok(tookMs <= 1_000, `${tookMs}`)
      assert.ok(registrations < 20, `${registrations}`)
    },
  )
})

/** Makes the zone one of two desks, of which the honest node turns to the one that introduces. */
const MANY = Object.freeze({ size: 0, seed: 4, others: range(1, 300).map((i) => ({ id: `nobody ${i}`, addresses: [] })) })

test('whoever introduces is not heard about leases nor sizes, and keeps nobody from those who grant', async () => {
  const asked: number[] = []
  const phantom = (i: number) => ({ id: `12D3KooW${'abcdefghijkmnopqrstuvwxyzABCDEFG'[i]}`, addresses: ['/ip4/10.9.9.9/tcp/1'] })
  await against(
    (message) => {
      if (message.type === 'register' && message.desk === 1)
        return [
          { type: 'grant', digest, request: 1, lease: 5, size: SIZE, first: 0, count: 1 },
          { type: 'members', digest, size: 2 * SIZE, active: true, peers: range(0, 31).map(phantom) },
          { type: 'wait', digest, request: 0, retryMs: 30_000 },
        ]
      if (message.type === 'register') return [welcome]
      if (message.type !== 'ask') return []
      asked.push(message.request)
      return [{ type: 'grant', digest, request: message.request, lease: 6, size: SIZE, first: 3, count: 1 }]
    },
    async (member, zone) => {
      await zone.clock.advance(3_100)
      await member.introduced
      assert.equal(member.size, undefined)
      assert.equal((await ask(zone, member, ALL, SIZE)).grant, undefined)
      assert.deepEqual(asked, [])
      await zone.clock.advance(stillMs(330, () => 1))
      assert.equal((await ask(zone, member, ALL, SIZE)).grant?.first, 3)
    },
    MANY,
  )
})

test('introducers that send each other on and on are left for those who grant', async () => {
  let registrations = 0
  let welcomed = false
  await against(
    (message) => {
      if (message.type !== 'register') return []
      if (message.desk === 0) {
        welcomed = true
        return [welcome]
      }
      registrations++
      return [
        {
          type: 'redirect',
          digest,
          peer: { id: '12D3KooWEyoppNCUx8Yx66oV9fJnriXwCcXwDDUA2kj6vnc6iDEp', addresses: ['/ip4/10.9.9.9/tcp/1'] },
        },
      ]
    },
    async (member, zone) => {
      await zone.clock.advance(3_100 + 4 * answerMs(165))
      await member.introduced
      assert.ok(registrations > 0 && registrations < 20, `${registrations}`)
      assert.ok(welcomed)
    },
    MANY,
  )
})

test('importers who were caught are granted nothing, unless they are so many that the rendezvous itself may be wrong', () => {
  const caught = new Set<string>()
  const told = new Map<string, CounterMessage>()
  const office = new Office({
    clock: new VirtualClock(),
    random: seeded(1),
    bounds: AT_ONCE,
    caught: () => caught,
    redirect: () => undefined,
  })
  const hear = (peerId: string, message: MemberMessage) => {
    office.hear({ peerId, tell: (answer) => told.set(peerId, answer) }, message)
    return told.get(peerId)?.type
  }
  const asks = (peerId: string) =>
    hear(peerId, { type: 'ask', digest, request: 1, size: SIZE, ranges: [{ first: 0, count: ALL.length }] })
  for (let i = 0; i < 8; i++) hear(`m${i}`, register)
  caught.add('m0').add('m1')
  assert.equal(asks('m0'), 'wait')
  assert.equal(asks('m2'), 'grant')
  const holds = (peerId: string) => hear(peerId, { type: 'hold', digest, request: 2, size: SIZE, first: 8, count: 1 })
  assert.notEqual(holds('m1'), 'grant', 'nor is what others granted them noted')
  assert.equal(holds('m4'), 'grant')
  caught.add('m3')
  assert.equal(asks('m0'), 'grant')
})

test('a rendezvous that was caught is not asked any more, and the next is at once', async () => {
  await withZone(5, async (zone) => {
    const [first, , node] = zone.inOrder(digest) as [ZoneNode, ZoneNode, ZoneNode]
    const member = node.rendezvous.join(digest, SIZE)
    await member.introduced
    const { grant } = await ask(zone, member, ALL, SIZE)
    assert.notEqual(grant, undefined)
    grant?.end({ ok: true })
    await settle()
    zone.freeze(first)
    node.caught.add(first.ref.id)
    const { grant: next, tookMs } = await ask(zone, member, ALL, SIZE)
    assert.notEqual(next, undefined)
    assert.ok(tookMs < answerMs(4), `${tookMs}`)
  })
})
