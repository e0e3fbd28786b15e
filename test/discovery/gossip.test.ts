import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { decodeZoneMessage, encodeZoneMessage, type ZoneMessage, zoneTopic } from '../../protocols/beacon/codec.ts'
import { parseZone } from '../../protocols/zone.ts'
import type { Discovery } from '../../src/discovery/discovery.ts'
import type { Host, TopicMessage } from '../../src/net/host.ts'
import { blob, collect, connect, holdersOf, Meadow } from './meadow.ts'

const label = parseZone('eu/a')
const TOPIC = zoneTopic(label)

/** What a host hears on the zone's topic, by author. */
function overhear(host: Host): (TopicMessage & { readonly message: ZoneMessage })[] {
  const heard: (TopicMessage & { readonly message: ZoneMessage })[] = []
  host.topics?.subscribe(
    TOPIC,
    () => 'accept',
    (m) => heard.push({ ...m, message: decodeZoneMessage(m.data) }),
  )
  return heard
}

describe('gossip alone', () => {
  const off = { routing: false }

  it('lets the nodes of a zone know each other soon, and only them', async (t) => {
    const meadow = new Meadow(t)
    const nodes = await Promise.all([meadow.join(off), meadow.join(off), meadow.join(off)])
    const far = await meadow.join({ ...off, zone: 'us/a' })
    await meadow.clock.until('all know all', () => nodes.every(({ discovery }) => discovery.members().length === 2), 5_000)
    assert.deepEqual(far.discovery.members(), [])
  })

  it('tells who holds a blob within half a second in a small zone, and who holds it no longer', async (t) => {
    const meadow = new Meadow(t)
    const [a, b] = [await meadow.join(off), await meadow.join(off)]
    await meadow.clock.advance(3_000)
    a.discovery.announce(blob(1))
    await meadow.clock.advance(500)
    assert.deepEqual(await holdersOf(b.discovery, blob(1)), [a.host.peerId])
    a.discovery.withdraw(blob(1))
    await meadow.clock.advance(1_000)
    assert.deepEqual(await holdersOf(b.discovery, blob(1)), [])
  })

  it('gives a holder with its addresses and label, and members that may want the blob too', async (t) => {
    const meadow = new Meadow(t)
    const [a, b] = [await meadow.join(off), await meadow.join({ ...off, zone: 'eu/a/r9' })]
    b.discovery.announce(blob(1))
    await meadow.clock.advance(5_000)
    const peer = { id: b.host.peerId, addresses: b.host.addresses() }
    assert.deepEqual(await collect(a.discovery, blob(1)), [
      { peer, reason: 'holder', source: 'gossip', label: parseZone('eu/a/r9') },
      { peer, reason: 'member', source: 'zone', label: parseZone('eu/a/r9') },
    ])
  })

  it('tells a newcomer what was announced before it came', async (t) => {
    const meadow = new Meadow(t)
    const old = await Promise.all([meadow.join(off), meadow.join(off)])
    for (let i = 0; i < 300; i++) old[0].discovery.announce(blob(i))
    await meadow.clock.advance(60_000)
    const late = await meadow.join(off)
    await meadow.clock.advance(4_000)
    assert.deepEqual(await holdersOf(late.discovery, blob(0)), [old[0].host.peerId])
    assert.deepEqual(await holdersOf(late.discovery, blob(299)), [old[0].host.peerId])
  })

  it('announces what a restarted node holds, even when nobody was there at first', async (t) => {
    const meadow = new Meadow(t)
    const held = Array.from({ length: 1_000 }, (_, i) => blob(i))
    const holder = await meadow.join({ ...off, held })
    await meadow.clock.advance(30_000)
    const other = await meadow.join(off)
    await meadow.clock.advance(10_000)
    for (const i of [0, 500, 999]) assert.deepEqual(await holdersOf(other.discovery, blob(i)), [holder.host.peerId])
  })

  it('knows a restarted node again, with what it holds now', async (t) => {
    const meadow = new Meadow(t)
    const first = await meadow.join({ ...off, id: 'kelp', startedAt: 1_000, held: [blob('old')] })
    const other = await meadow.join(off)
    await meadow.clock.advance(5_000)
    await first.discovery[Symbol.asyncDispose]()
    await first.host[Symbol.asyncDispose]()
    const again = await meadow.join({ ...off, id: 'kelp', startedAt: 2_000, held: [blob('old'), blob('new')] })
    await meadow.clock.advance(5_000)
    assert.deepEqual(await holdersOf(other.discovery, blob('new')), [again.host.peerId])
    assert.deepEqual(
      again.discovery.members().map(({ peer }) => peer.id),
      [other.host.peerId],
    )
  })

  it('forgets a node that dies silently, and what it held', async (t) => {
    const meadow = new Meadow(t)
    const [dead, other] = [await meadow.join({ ...off, held: [blob(1)] }), await meadow.join(off)]
    await meadow.clock.advance(5_000)
    assert.deepEqual(await holdersOf(other.discovery, blob(1)), [dead.host.peerId])
    await dead.discovery[Symbol.asyncDispose]()
    await dead.host[Symbol.asyncDispose]()
    await meadow.clock.advance(26_000)
    assert.deepEqual(other.discovery.members(), [])
    assert.deepEqual(await collect(other.discovery, blob(1)), [])
  })

  it('does not offer a forgotten holder until it says anew that it holds the blob', async (t) => {
    const meadow = new Meadow(t)
    const [a, b] = [await meadow.join({ ...off, held: [blob(1), blob(2)] }), await meadow.join(off)]
    await meadow.clock.advance(5_000)
    b.discovery.forget(blob(1), a.host.peerId)
    assert.deepEqual(await collect(b.discovery, blob(1)), [])
    assert.equal((await collect(b.discovery, blob(2))).length, 2)
    a.discovery.announce(blob(1))
    await meadow.clock.advance(1_000)
    assert.deepEqual(await holdersOf(b.discovery, blob(1)), [a.host.peerId])
    b.discovery.forget(blob(1), a.host.peerId)
    a.discovery.announce(blob(1))
    await meadow.clock.advance(1_000)
    assert.deepEqual(await collect(b.discovery, blob(1)), [], 'it was believed once')
    await meadow.clock.advance(10 * 60_000)
    assert.equal((await collect(b.discovery, blob(1))).length > 0, true)
  })

  it('connects the nodes of a small zone with each other', async (t) => {
    const meadow = new Meadow(t)
    const nodes = await Promise.all(Array.from({ length: 5 }, () => meadow.join(off)))
    await meadow.clock.advance(10_000)
    for (const { host } of nodes) assert.equal(host.peers().length, 4)
    meadow.network.cut(nodes[0]?.host as Host, nodes[1]?.host as Host)
    await meadow.clock.advance(5_000)
    assert.equal(nodes[0]?.host.peers().length, 4)
  })

  it('stays quiet: a still zone hears little more than beacons', async (t) => {
    const meadow = new Meadow(t)
    const heard = overhear(meadow.host())
    await Promise.all(Array.from({ length: 16 }, (_, i) => meadow.join({ ...off, held: [blob(i)] })))
    await meadow.clock.advance(20_000)
    heard.length = 0
    await meadow.clock.advance(60_000)
    const perSecond = heard.length / 60
    assert.ok(perSecond > 1.2 && perSecond < 2.5, `${perSecond} messages a second`)
  })

  it('stays within the budget when a zone starts at once and everybody comes to hold the same', async (t) => {
    const meadow = new Meadow(t)
    const heard = overhear(meadow.host())
    const nodes = await Promise.all(Array.from({ length: 60 }, () => meadow.join(off)))
    const perSecond: number[] = []
    for (let second = 0; second < 20; second++) {
      if (second > 8 && second < 13) for (const { discovery } of nodes) discovery.announce(blob(second))
      await meadow.clock.advance(1_000)
      perSecond.push(heard.splice(0).length)
    }
    assert.ok(Math.max(...perSecond) <= 150, `${perSecond}`)
    assert.ok(perSecond.reduce((a, b) => a + b) / 20 <= 100, `${perSecond}`)
    assert.equal((await holdersOf(nodes[7]?.discovery as Discovery, blob(12))).length, 32)
  })

  it('says at once when it can not say what it is told to say of itself', async (t) => {
    const meadow = new Meadow(t)
    await assert.rejects(meadow.join({ ...off, roles: ['not a role'] }), TypeError)
  })

  it('batches the news of a node that comes to hold much at once', async (t) => {
    const meadow = new Meadow(t)
    const heard = overhear(meadow.host())
    const [a] = [await meadow.join(off), await meadow.join(off)]
    await meadow.clock.advance(5_000)
    heard.length = 0
    for (let i = 0; i < 1_000; i++) a.discovery.announce(blob(i))
    await meadow.clock.advance(2_000)
    const news = heard.map(({ message }) => message).filter((message) => message.type === 'news')
    assert.deepEqual(
      news.map(({ added }) => added.length),
      [256, 256, 256, 232],
    )
  })

  it('a liar that floods, claims everything, and speaks of other zones puts in no more than its share', async (t) => {
    const meadow = new Meadow(t)
    const liar = meadow.host({ id: 'liar' })
    const [a, b] = [await meadow.join(off), await meadow.join({ ...off, held: [blob('true')] })]
    await meadow.clock.advance(5_000)
    const publish = (message: ZoneMessage) => liar.topics?.publish(TOPIC, encodeZoneMessage(message))
    const beacon = { type: 'beacon', addresses: [], roles: [], load: 0, version: '', startedAt: 9, sequence: 1 } as const
    await publish({ ...beacon, label: parseZone('us/a') })
    await liar.topics?.publish(TOPIC, Buffer.from('not a message'))
    await meadow.clock.advance(100)
    assert.equal(a.discovery.members().length, 1)
    for (let i = 0; i < 200; i++) {
      await publish({ ...beacon, label, sequence: i })
      await publish({ type: 'news', addresses: [], removed: [blob('true')], added: [blob(`made up ${i}`)] })
    }
    await meadow.clock.advance(100)
    assert.equal(a.discovery.members().length, 2)
    assert.deepEqual(await holdersOf(a.discovery, blob('true')), [b.host.peerId])
    const believed = await Promise.all(Array.from({ length: 200 }, (_, i) => holdersOf(a.discovery, blob(`made up ${i}`))))
    assert.ok(believed.flat().length <= 20, `${believed.flat().length} messages were believed at once`)
  })

  it('leaves nothing running when it is closed', async (t) => {
    const meadow = new Meadow(t)
    const nodes = await Promise.all(Array.from({ length: 3 }, (_, i) => meadow.join({ held: [blob(i)] })))
    for (const { host } of nodes.slice(1)) await connect(host, nodes[0]?.host as Host)
    await meadow.clock.advance(700)
    for (const { discovery } of nodes) await discovery[Symbol.asyncDispose]()
    assert.equal(meadow.clock.pending, 0)
  })
})
