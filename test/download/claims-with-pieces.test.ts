import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { SwarmMessage } from '../../protocols/swarm/codec.ts'
import { createMemoryDiscovery } from '../../src/discovery/memory.ts'
import { until } from '../helpers/until.ts'
import { content, createWorld, PIECE } from './rig.ts'
import { BLOB_SOURCE, Tap } from './scripted-origin.ts'
import { tapped } from './tapped-host.ts'

const origin = BLOB_SOURCE
/** Bytes of claims about 130 pieces are too many to come with one. */
const MANY = 130

type Question = Extract<SwarmMessage, { type: 'get-claims' }>

const questions = (said: readonly SwarmMessage[]) => said.filter((message): message is Question => message.type === 'get-claims')
/** The first piece may have been asked for before the size was known, and then without a claim. */
const isEarly = ({ first, count }: Question) => first === 0 && count === 1

describe('what a piece is verified against', () => {
  it('comes with it from each of those who hold a part, but for one asked for before the size was known', async (t) => {
    const { bytes, digest } = content(12 * PIECE)
    const world = createWorld(t)
    for (const pieces of [[0], [1, 2, 3, 4, 5, 6], [5, 6, 7, 8, 9, 10, 11]]) {
      await world.peer({ digest, bytes, claims: 'import', pieces })
    }
    const { host, said } = tapped(world.network.host())
    const node = await world.node({ host })
    assert.ok((await node.read(digest)).equals(bytes))
    assert.equal(node.counts.bytes.peer, bytes.length)
    assert.ok(said.some(({ type }) => type === 'want'))
    assert.ok(questions(said).every(isEarly))
  })

  it('is passed on with it in a crowd, where it is the word of an importer that the taker never meets', async (t) => {
    const { bytes, digest } = content(12 * PIECE)
    const world = createWorld(t)
    const tap = new Tap()
    tap.open(6 * PIECE)
    const importer = await world.node({ origin: { bytes, tap }, zone: true })
    const middle = tapped(world.network.host())
    const second = await world.node({ host: middle.host, zone: true })
    const end = tapped(world.network.host())
    world.network.partition([importer.host.peerId], [end.host.peerId])
    const third = await world.node({ host: end.host })
    const pulls = [importer.read(digest, { origin })]
    await until('a part has been imported', () => importer.counts.bytes.origin === 6 * PIECE)
    pulls.push(second.read(digest))
    await until('a part has reached the second', () => second.counts.bytes.peer === 6 * PIECE)
    const label = { region: 'test', zone: 'memory', rack: undefined }
    await using discovery = createMemoryDiscovery(world.shared, { peer: second.ref, label })
    discovery.announce(digest)
    pulls.push(third.read(digest))
    await until('and the third', () => third.counts.bytes.peer === 6 * PIECE)
    assert.deepEqual(questions(middle.said), [])
    assert.ok(questions(end.said).length <= 1, 'one, of the holder that is asked for the first piece before the size is known')
    tap.open()
    for (const pulled of await Promise.all(pulls)) assert.ok(pulled.equals(bytes))
  })

  it('is asked for once, for many pieces, where a peer holds the whole', async (t) => {
    const { bytes, digest } = content(12 * PIECE)
    const world = createWorld(t)
    await world.peer({ digest, bytes })
    const { host, said } = tapped(world.network.host())
    const node = await world.node({ host })
    assert.ok((await node.read(digest)).equals(bytes))
    assert.equal(questions(said).length, 1)
  })

  it('is asked for where it is too long to come with a piece', async (t) => {
    const { bytes, digest } = content(MANY * PIECE)
    const world = createWorld(t)
    const pieces = Array.from({ length: MANY - 1 }, (_, i) => i)
    await world.peer({ digest, bytes, claims: 'import', pieces, oneClaim: true })
    const { host, said } = tapped(world.network.host())
    const node = await world.node({ host })
    const end = 8 * PIECE
    assert.ok((await node.read(digest, { end })).equals(bytes.subarray(0, end)))
    assert.ok(questions(said).length > 0)
  })

  it('is never asked for of a blob of one piece', async (t) => {
    const { bytes, digest } = content(1_000)
    const world = createWorld(t)
    await world.peer({ digest, bytes })
    const { host, said } = tapped(world.network.host())
    const node = await world.node({ host })
    assert.ok((await node.read(digest)).equals(bytes))
    assert.deepEqual(questions(said), [])
  })

  it('and is the sender’s own lie is found out as any other', async (t) => {
    const { bytes, digest } = content(6 * PIECE)
    const world = createWorld(t)
    const liar = await world.peer({ digest, bytes: Buffer.alloc(bytes.length), claims: 'import', pieces: [0, 1, 2] })
    const node = await world.node({ origin: { bytes } })
    const pulled = await node.read(digest, { origin }).catch(() => node.read(digest, { origin }))
    assert.ok(pulled.equals(bytes))
    assert.ok(node.bans.has(liar.host.peerId))
  })
})
