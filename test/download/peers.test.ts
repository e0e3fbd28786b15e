import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { ShoalError } from '../../src/errors.ts'
import { until } from '../helpers/until.ts'
import { content, createWorld, PIECE, withCode } from './rig.ts'
import { BLOB_SOURCE, Tap } from './scripted-origin.ts'
import { lacks } from './scripted-peer.ts'

const origin = BLOB_SOURCE

describe('holders', () => {
  it('are asked at once, all of them', async (t) => {
    const { bytes, digest } = content(24 * PIECE)
    const world = createWorld(t)
    const gate = Promise.withResolvers<void>()
    const peers = await Promise.all([0, 1, 2].map(() => world.peer({ digest, bytes, before: () => gate.promise })))
    const node = await world.node()
    const reading = node.read(digest)
    await until('each holder was asked before any has answered', () => peers.every(({ reads }) => reads.length > 0))
    assert.equal(node.counts.bytes.peer, 0)
    gate.resolve()
    assert.ok((await reading).equals(bytes))
    for (const { transfer } of peers) assert.ok(transfer.servedBytes > 0)
  })

  it('of parts give the whole together', async (t) => {
    const { bytes, digest } = content(12 * PIECE)
    const world = createWorld(t)
    const indices = Array.from({ length: 12 }, (_, i) => i)
    for (const rest of [0, 1, 2])
      await world.peer({ digest, bytes, claims: 'import', pieces: indices.filter((index) => index % 3 === rest) })
    const node = await world.node()
    assert.ok((await node.read(digest)).equals(bytes))
    assert.equal(node.counts.bytes.peer, bytes.length)
  })

  it('are asked before the origin, which is not asked at all when they have everything', async (t) => {
    const { bytes, digest } = content(6 * PIECE)
    const world = createWorld(t)
    await (await world.node()).seed(bytes)
    const node = await world.node({ origin: { bytes } })
    assert.ok((await node.read(digest, { origin })).equals(bytes))
    assert.deepEqual(node.origin.opens, [])
  })

  it('give what they have, and the origin only what none of them has', async (t) => {
    const { bytes, digest } = content(16 * PIECE)
    const world = createWorld(t)
    const pieces = [0, 1, 2, 3, 4, 5, 14, 15]
    await world.peer({ digest, bytes, claims: 'import', pieces })
    const node = await world.node({ origin: { bytes } })
    assert.ok((await node.read(digest, { origin })).equals(bytes))
    assert.equal(node.counts.bytes.origin, 8 * PIECE)
    assert.equal(node.counts.bytes.peer, 8 * PIECE)
    assert.deepEqual(
      node.origin.opens.map(({ start, end }) => [start, end]),
      [[6 * PIECE, 14 * PIECE]],
    )
  })

  it('include a node that is still downloading', async (t) => {
    const { bytes, digest } = content(10 * PIECE)
    const world = createWorld(t)
    const tap = new Tap()
    const first = await world.node({ origin: { bytes, tap } })
    const second = await world.node()
    let seen = 0
    const importing = first.read(digest, { origin })
    tap.open(4 * PIECE)
    await until('the first has four pieces', () => first.counts.bytes.origin === 4 * PIECE)
    const following = second.read(digest, { onChunk: (chunk) => (seen += chunk.length) })
    await until('the second has them too', () => seen === 4 * PIECE)
    assert.equal((await first.store.open(digest))?.complete, false)
    tap.open(7 * PIECE)
    await until('the second follows, piece by piece', () => seen === 7 * PIECE)
    assert.equal((await first.store.open(digest))?.complete, false)
    tap.open()
    assert.ok((await importing).equals(bytes))
    assert.ok((await following).equals(bytes))
    assert.equal(second.counts.bytes.peer, bytes.length)
  })

  it('of one zone ask all the mesh for holders only where one of them is to import', async (t) => {
    const { bytes, digest } = content(PIECE / 2)
    const world = createWorld(t)
    const crowd = await Promise.all(Array.from({ length: 6 }, () => world.node({ zone: true, origin: { bytes } })))
    for (const read of await Promise.all(crowd.map((node) => node.read(digest, { origin })))) assert.ok(read.equals(bytes))
    const opened = crowd.filter((node) => node.origin.opens.length > 0).length
    assert.equal(opened, 1)
    assert.ok((world.shared.lookUps.get(String(digest)) ?? 0) < crowd.length)
  })

  it('of one zone import nothing that another zone holds', async (t) => {
    const { bytes, digest } = content(8 * PIECE)
    const world = createWorld(t)
    const far = await world.node({ elsewhere: true })
    await far.seed(bytes)
    const crowd = await Promise.all(Array.from({ length: 4 }, () => world.node({ zone: true, origin: { bytes } })))
    for (const read of await Promise.all(crowd.map((node) => node.read(digest, { origin })))) assert.ok(read.equals(bytes))
    for (const node of crowd) assert.deepEqual(node.origin.opens, [])
  })

  it('get from each other what only one of them imports', async (t) => {
    const { bytes, digest } = content(32 * PIECE)
    const world = createWorld(t)
    const tap = new Tap()
    const importer = await world.node({ origin: { bytes, tap } })
    const others = await Promise.all([world.node(), world.node(), world.node()])
    const importing = importer.read(digest, { origin })
    tap.open(PIECE)
    await until('it has begun', () => importer.counts.bytes.origin === PIECE)
    const following = others.map((node) => node.read(digest))
    tap.open()
    for (const read of await Promise.all([importing, ...following])) assert.ok(read.equals(bytes))
    assert.equal(importer.origin.sentBytes, bytes.length)
  })
})

/** Says that it was asked, and does not answer before `until`. */
function stalls(asked: PromiseWithResolvers<void>, until: Promise<void> = new Promise(() => {})): Promise<void> {
  asked.resolve()
  return until
}

describe('a holder that', () => {
  it('dies in the middle of a piece costs that piece and no more', async (t) => {
    const { bytes, digest } = content(12 * PIECE)
    const world = createWorld(t)
    const node = await world.node()
    const asked = Promise.withResolvers<void>()
    const peer = await world.peer({
      digest,
      bytes,
      before: (index) => (index < 4 ? undefined : stalls(asked)),
    })
    await world.peer({ digest, bytes })
    const reading = node.read(digest)
    await asked.promise
    await peer.host[Symbol.asyncDispose]()
    assert.ok((await reading).equals(bytes))
    assert.equal(node.counts.bytes.peer, bytes.length, 'nothing that had landed came again')
  })

  it('dies, the only one, is followed by the origin', async (t) => {
    const { bytes, digest } = content(12 * PIECE)
    const world = createWorld(t)
    const node = await world.node({ origin: { bytes } })
    const asked = Promise.withResolvers<void>()
    const peer = await world.peer({
      digest,
      bytes,
      before: (index) => (index < 6 ? undefined : stalls(asked)),
    })
    const reading = node.read(digest, { origin })
    await asked.promise
    await peer.host[Symbol.asyncDispose]()
    assert.ok((await reading).equals(bytes))
    assert.equal(node.counts.bytes.peer + node.counts.bytes.origin, bytes.length)
  })

  it('loses its connection and comes back is asked again', async (t) => {
    const { bytes, digest } = content(16 * PIECE)
    const world = createWorld(t)
    const gate = Promise.withResolvers<void>()
    const held = Promise.withResolvers<void>()
    const peer = await world.peer({
      digest,
      bytes,
      before: (index) => (index < 5 ? undefined : stalls(held, gate.promise)),
    })
    const node = await world.node()
    const reading = node.read(digest)
    await held.promise
    world.network.cut(node.host, peer.host)
    gate.resolve()
    assert.ok((await reading).equals(bytes))
  })

  it('stalls does not hold up the pull: another is asked for the same piece', async (t) => {
    const { bytes, digest } = content(8 * PIECE)
    const world = createWorld(t)
    const stalled = await world.peer({ digest, bytes, before: () => new Promise<void>(() => {}) })
    await world.peer({ digest, bytes })
    const node = await world.node()
    assert.ok((await node.read(digest)).equals(bytes))
    assert.ok(stalled.reads.length > 0, 'it was asked')
    assert.equal(node.bans.list().length, 0, 'to be slow is no crime')
  })

  it('stalls, the only one, is followed by the origin', async (t) => {
    const { bytes, digest } = content(4 * PIECE)
    const world = createWorld(t)
    const stalled = await world.peer({ digest, bytes, before: () => new Promise<void>(() => {}) })
    const node = await world.node({ origin: { bytes } })
    assert.ok((await node.read(digest, { origin })).equals(bytes))
    assert.ok(stalled.reads.length > 0, 'it was asked')
  })

  it('is said to hold it, and does not, costs next to nothing', async (t) => {
    const { bytes, digest } = content(4 * PIECE)
    const world = createWorld(t)
    const stale = await world.node()
    world.shared.holders.set(String(digest), new Set([stale.host.peerId]))
    const node = await world.node({ origin: { bytes } })
    const began = performance.now()
    assert.ok((await node.read(digest, { origin })).equals(bytes))
    assert.ok(performance.now() - began < 1_000)
  })

  it('is said to hold it, and is gone, costs next to nothing', async (t) => {
    const { bytes, digest } = content(4 * PIECE)
    const world = createWorld(t)
    const gone = { id: world.network.host().peerId, addresses: ['/ip4/10.9.9.9/tcp/7402'] }
    world.shared.members.set(gone.id, {
      peer: gone,
      label: { region: 'test', zone: 'memory', rack: undefined },
      load: 0,
      version: 'memory',
      roles: [],
      heardAt: performance.now(),
    })
    world.shared.holders.set(String(digest), new Set([gone.id]))
    await (await world.node()).seed(bytes)
    const node = await world.node()
    const began = performance.now()
    assert.ok((await node.read(digest)).equals(bytes))
    assert.ok(performance.now() - began < 1_000)
  })

  it('says that it holds a piece and then does not have it is not asked for it again', async (t) => {
    const { bytes, digest } = content(8 * PIECE)
    const world = createWorld(t)
    const stale = await world.peer({ digest, bytes, before: (index) => (index % 2 === 1 ? lacks(index) : undefined) })
    const node = await world.node({ origin: { bytes } })
    assert.ok((await node.read(digest, { origin })).equals(bytes))
    for (const index of [1, 3, 5, 7]) assert.ok(stale.reads.filter((read) => read === index).length <= 3)
    assert.equal(node.counts.failed.peer, 0)
  })
})

describe('content that came with somebody’s credentials', () => {
  const secret = { usedAuthorization: true }

  it('is not shown to peers, neither while it comes in nor when it is there', async (t) => {
    const { bytes, digest } = content(6 * PIECE)
    const world = createWorld(t)
    const tap = new Tap()
    const node = await world.node({ origin: { bytes, tap, ...secret } })
    const other = await world.node()
    const reading = node.read(digest, { origin: { ...origin, authorization: 'Basic a2VscA==' } as typeof origin })
    tap.open(3 * PIECE)
    await until('half of it is there', () => node.counts.bytes.origin === 3 * PIECE)
    await assert.rejects(other.read(digest), withCode('BLOB_UNKNOWN'))
    tap.open()
    assert.ok((await reading).equals(bytes))
    await assert.rejects(other.read(digest), withCode('BLOB_UNKNOWN'))
    assert.equal(node.transfer.servedBytes, 0)
    assert.deepEqual((await node.store.open(digest))?.meta.restrictedTo, ['reg.test/team/app'])
    assert.equal(world.shared.holders.get(String(digest))?.size ?? 0, 0, 'and nobody is told of it')
  })

  it('is shown to them where the operator has declared the node shared', async (t) => {
    const { bytes, digest } = content(3 * PIECE)
    const world = createWorld(t)
    const node = await world.node({ origin: { bytes, ...secret }, shared: true })
    await node.read(digest, { origin })
    assert.ok((await (await world.node()).read(digest)).equals(bytes))
  })

  it('never reaches a log line', async (t) => {
    const { bytes, digest } = content(PIECE)
    const refuse = () => new ShoalError('ORIGIN_FORBIDDEN', 'not you')
    const node = await createWorld(t).node({ origin: { bytes, ...secret, refuse } })
    const source = { ...origin, authorization: 'Basic a2VscA==' } as typeof origin
    await assert.rejects(node.read(digest, { origin: source }), withCode('ORIGIN_FORBIDDEN'))
    assert.ok(node.log.length > 0)
    assert.ok(!JSON.stringify(node.log).includes('a2VscA=='))
  })
})
