import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Digest } from '../../protocols/digest.ts'
import { codeOf } from '../../src/errors.ts'
import type { Host } from '../../src/net/host.ts'
import { createMemoryStore } from '../../src/store/memory.ts'
import type { Store } from '../../src/store/store.ts'
import { verifyClaim } from '../../src/transfer/claims.ts'
import { until } from '../helpers/until.ts'
import { content, createWorld, flipped, PIECE, type ReadOptions, type TestNode, withCode } from './rig.ts'
import { BLOB_SOURCE, Tap } from './scripted-origin.ts'

const origin = BLOB_SOURCE

/** The node has banned exactly this peer, with its signed lie as the evidence unless there is none. */
async function assertBanned(node: TestNode, peerId: string, { evidence }: { evidence: boolean }): Promise<void> {
  assert.deepEqual(
    node.bans.list().map((ban) => ban.peerId),
    [peerId],
  )
  const [ban] = node.bans.list()
  assert.equal((ban?.evidence.length ?? 0) > 0, evidence)
  for (const claim of ban?.evidence ?? []) {
    assert.equal(claim.author, peerId)
    assert.ok(await verifyClaim(node.host, claim), 'anybody can check the evidence')
  }
  assert.ok(node.log.some((line) => line.msg === 'peer banned' && line.peerId === peerId && line.reason === ban?.reason))
}

/** As a client does: one that was cut, because it had been given what turned out wrong, asks again. It never completes a wrong body. */
async function pull(node: TestNode, digest: Digest, bytes: Uint8Array, options: ReadOptions = {}): Promise<void> {
  for (let cuts = 0; ; cuts++) {
    try {
      assert.ok((await node.read(digest, options)).equals(bytes), 'a body that was completed is right')
      return
    } catch (error) {
      if (codeOf(error) !== 'DIGEST_MISMATCH' || cuts > 0) throw error
    }
  }
}

describe('a peer that sends a wrong piece', () => {
  it('once, as a bad disk does, costs that piece, is told of it, and is not banned', async (t) => {
    const { bytes, digest } = content(8 * PIECE)
    const world = createWorld(t)
    const bad = await world.peer({ digest, bytes: flipped(bytes, 3), listed: bytes })
    const node = await world.node({ origin: { bytes } })
    assert.ok((await node.read(digest, { origin })).equals(bytes))
    assert.equal(node.counts.failed.peer, 1)
    assert.deepEqual(bad.reports, [3])
    assert.equal(node.counts.bytes.origin, PIECE, 'and only that piece came from elsewhere')
    assert.deepEqual(node.bans.list(), [])
    assert.ok(node.log.some((line) => line.msg === 'a peer sent a wrong piece' && line.peerId === bad.host.peerId))
  })

  it('again and again is banned, and the pull ends right with an honest holder', async (t) => {
    const { bytes, digest } = content(12 * PIECE)
    const world = createWorld(t)
    const liar = await world.peer({ digest, bytes: flipped(bytes, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), listed: bytes })
    await world.peer({ digest, bytes })
    const node = await world.node()
    assert.ok((await node.read(digest)).equals(bytes))
    if (node.bans.list().length > 0) await assertBanned(node, liar.host.peerId, { evidence: false })
    assert.ok(node.counts.failed.peer > 0)
  })

  it('always, the only one, is banned, and nothing wrong is kept', async (t) => {
    const { bytes, digest } = content(12 * PIECE)
    const world = createWorld(t)
    const liar = await world.peer({ digest, bytes: flipped(bytes, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11), listed: bytes })
    const node = await world.node()
    await assert.rejects(node.read(digest), withCode('BLOB_UNKNOWN'))
    await assertBanned(node, liar.host.peerId, { evidence: false })
    assert.equal(await node.store.open(digest), undefined)
  })

  it('of a blob of one piece, which its digest alone proves, is banned', async (t) => {
    const { bytes, digest } = content(5000)
    const world = createWorld(t)
    const liar = await world.peer({ digest, bytes: flipped(bytes, 0) })
    const node = await world.node({ origin: { bytes } })
    assert.ok((await node.read(digest, { origin })).equals(bytes))
    await assertBanned(node, liar.host.peerId, { evidence: false })
  })
})

describe('a peer whose wrong bytes match its own signed list', () => {
  it('is proven a liar by the digest, and the blob comes right from an honest holder', async (t) => {
    const { bytes, digest } = content(8 * PIECE)
    const world = createWorld(t)
    const liar = await world.peer({ digest, bytes: flipped(bytes, 2, 5) })
    const honest = await world.peer({ digest, bytes })
    const node = await world.node()
    await pull(node, digest, bytes)
    assert.equal((await node.store.open(digest))?.complete, true)
    if (liar.reads.length > 0) await assertBanned(node, liar.host.peerId, { evidence: true })
    assert.ok(!node.bans.has(honest.host.peerId))
  })

  it('is proven a liar, and only what it brought is fetched again from the origin', async (t) => {
    const { bytes, digest } = content(8 * PIECE)
    const world = createWorld(t)
    const liar = await world.peer({ digest, bytes: flipped(bytes, 2, 5) })
    const node = await world.node({ origin: { bytes } })
    await pull(node, digest, bytes, { origin })
    await assertBanned(node, liar.host.peerId, { evidence: true })
    assert.ok(node.origin.sentBytes <= bytes.length)
  })

  it('and who is alone ends the pull with DIGEST_MISMATCH: nothing is kept, and the liar is banned', async (t) => {
    const { bytes, digest } = content(8 * PIECE)
    const world = createWorld(t)
    const liar = await world.peer({ digest, bytes: flipped(bytes, 2, 5) })
    const node = await world.node()
    let shown = 0
    await assert.rejects(node.read(digest, { onChunk: (chunk) => (shown += chunk.length) }), withCode('DIGEST_MISMATCH'))
    assert.ok(shown < bytes.length, 'the last piece was never shown')
    assert.equal(await node.store.open(digest), undefined)
    await assertBanned(node, liar.host.peerId, { evidence: true })
    assert.equal(node.counts.ended.failed, 1)
  })

  it('costs a reader nothing that has not come to the wrong pieces yet', async (t) => {
    const { bytes, digest } = content(8 * PIECE)
    const world = createWorld(t)
    await world.peer({ digest, bytes: flipped(bytes, 6) })
    const node = await world.node({ origin: { bytes } })
    await using blob = await node.downloads.open(digest, { origin, signal: t.signal })
    const chunks: Buffer[] = []
    for await (const { bytes: chunk, release } of blob.read({ signal: t.signal })) {
      chunks.push(Buffer.from(chunk))
      release()
      if (chunks.length === 1) await blob.whole({ signal: t.signal })
    }
    assert.ok(Buffer.concat(chunks).equals(bytes))
  })

  it('is not dealt with again: the next pull does not ask it', async (t) => {
    const { bytes, digest } = content(4 * PIECE)
    const world = createWorld(t)
    const liar = await world.peer({ digest, bytes: flipped(bytes, 1) })
    const node = await world.node()
    await assert.rejects(node.read(digest), withCode('DIGEST_MISMATCH'))
    const asked = liar.reads.length
    node.origin.script = { bytes }
    await pull(node, digest, bytes, { origin })
    assert.equal(liar.reads.length, asked)
  })

  it('cannot get others to pass its lie on: who reads from us while we download is warned of nothing wrong', async (t) => {
    const { bytes, digest } = content(8 * PIECE)
    const world = createWorld(t)
    const liar = await world.peer({ digest, bytes: flipped(bytes, 6) })
    const first = await world.node({ origin: { bytes } })
    const second = await world.node()
    const [a, b] = await Promise.allSettled([pull(first, digest, bytes, { origin }), pull(second, digest, bytes)])
    assert.equal(a.status, 'fulfilled')
    assert.ok(first.bans.has(liar.host.peerId))
    assert.ok(!second.bans.has(first.host.peerId), 'a node that was lied to is not taken for the liar')
    // without an origin of its own, it may find nobody left to ask
    if (b.status === 'rejected') assert.match(String(codeOf(b.reason)), /^(DIGEST_MISMATCH|BLOB_UNKNOWN)$/)
  })

  it('as an importer of a part, with the origin honest', async (t) => {
    const { bytes, digest } = content(8 * PIECE)
    const world = createWorld(t)
    const liar = await world.peer({ digest, bytes: flipped(bytes, 1), claims: 'import', pieces: [0, 1, 2, 3] })
    const node = await world.node({ origin: { bytes } })
    await pull(node, digest, bytes, { origin })
    await assertBanned(node, liar.host.peerId, { evidence: true })
  })
})

describe('two of eight who lie, each with wrong bytes and claims to match', () => {
  const PIECES = 12
  const LIES = [
    [2, 5, 9],
    [1, 5, 10],
  ] as const

  /** Six honest nodes that all want the blob at once, and two liars that say they hold it. */
  async function crowd(t: TestContext, origins: 'all' | 'one') {
    const { bytes, digest } = content(PIECES * PIECE - 1000)
    const world = createWorld(t)
    const liars = await Promise.all(LIES.map((wrong) => world.peer({ digest, bytes: flipped(bytes, ...wrong) })))
    const able = (i: number) => origins === 'all' || i === 0
    const nodes = await Promise.all(Array.from({ length: 6 }, (_, i) => world.node(able(i) ? { origin: { bytes } } : {})))
    const pulls = nodes.map((node, i) => pull(node, digest, bytes, able(i) ? { origin } : {}))
    return { bytes, digest, liars, nodes, outcomes: await Promise.allSettled(pulls) }
  }

  async function assertBothBanned({ host, bans, log }: TestNode, liars: readonly { host: Host }[]): Promise<void> {
    for (const liar of liars) {
      await until('the liar is banned', () => bans.has(liar.host.peerId))
      const evidence = bans.get(liar.host.peerId)?.evidence ?? []
      assert.ok(evidence.length > 0, JSON.stringify(log.filter(({ peerId }) => peerId === liar.host.peerId)))
      for (const claim of evidence) assert.ok(claim.author === liar.host.peerId && (await verifyClaim(host, claim)))
    }
    assert.equal(bans.list().length, liars.length, 'and nobody else')
  }

  it('keep nobody from the right blob, and are banned by all with the evidence, though all comes from them at first', async (t) => {
    const { bytes, digest, liars, nodes, outcomes } = await crowd(t, 'all')
    for (const outcome of outcomes) assert.equal(outcome.status, 'fulfilled', String((outcome as PromiseRejectedResult).reason))
    for (const node of nodes) {
      assert.equal((await node.store.open(digest))?.complete, true)
      await assertBothBanned(node, liars)
      const brought = node.counts.bytes.peer + node.counts.bytes.origin
      assert.ok(brought <= 3 * bytes.length, `${brought / PIECE} pieces for ${PIECES}`)
    }
  })

  it('are found out by those too whose only way to the origin is another node', async (t) => {
    const { digest, liars, nodes, outcomes } = await crowd(t, 'one')
    assert.equal(outcomes[0]?.status, 'fulfilled')
    for (const [i, outcome] of outcomes.entries()) {
      const blob = await (nodes[i] as TestNode).store.open(digest)
      if (outcome.status === 'fulfilled') await assertBothBanned(nodes[i] as TestNode, liars)
      else assert.match(String(codeOf(outcome.reason)), /^(DIGEST_MISMATCH|BLOB_UNKNOWN)$/)
      assert.equal(blob?.complete === true, outcome.status === 'fulfilled', 'only the right blob is kept whole')
    }
  })
})

describe('two members of eight who change what they import and sign it', () => {
  it('cost the others about what they imported, complete no wrong body, and are banned with the evidence, and nobody else', async (t) => {
    const { bytes, digest } = content(48 * PIECE)
    const leave = new AbortController()
    // before the nodes close: the liars' commits never come to an end
    t.after(() => leave.abort(new Error('over')))
    const world = createWorld(t)
    const nodes: TestNode[] = []
    for (let i = 0; i < 8; i++) {
      const store = i < 2 ? lyingStore(leave.signal) : createMemoryStore()
      nodes.push(await world.node({ origin: { bytes, tap: new SlowTap() }, zone: true, store }))
    }
    const [liars, honest] = [nodes.slice(0, 2), nodes.slice(2)]
    for (const liar of liars) liar.read(digest, { origin, signal: leave.signal }).catch(() => {})
    await Promise.all(honest.map((node) => pull(node, digest, bytes, { origin })))
    const lied = liars.filter((liar) => (liar.downloads.incoming(digest)?.imported.size ?? 0) > 0)
    const imported = lied.reduce((sum, liar) => sum + (liar.downloads.incoming(digest)?.imported.size ?? 0), 0)
    assert.ok(imported > 0, 'the liars were asked to import something')
    for (const node of honest) {
      assert.equal((await node.store.open(digest))?.complete, true)
      for (const liar of lied) {
        await until('the liar is banned', () => node.bans.has(liar.host.peerId))
        assert.ok((node.bans.get(liar.host.peerId)?.evidence.length ?? 0) > 0)
      }
      for (const { peerId } of node.bans.list())
        assert.ok(
          liars.some(({ host }) => host.peerId === peerId),
          'nobody is banned for passing on in good faith',
        )
      const again = node.counts.bytes.peer + node.counts.bytes.origin - bytes.length
      assert.ok(again / PIECE <= 2 * imported + 16, `${again / PIECE} pieces came again, of ${imported} that were wrong`)
    }
  })

  /** It changes what comes from the origin before it is hashed, and never finds out. */
  function lyingStore(leave: AbortSignal): Store {
    const store = createMemoryStore()
    const write = store.write.bind(store)
    store.write = async (digest, size) => {
      const writer = await write(digest, size)
      const put = writer.put.bind(writer)
      writer.put = (index, bytes, expected) => {
        if (expected === undefined && bytes[0] !== undefined) bytes[0] ^= 1
        return put(index, bytes, expected)
      }
      const { promise, reject } = Promise.withResolvers<never>()
      leave.addEventListener('abort', () => reject(leave.reason))
      promise.catch(() => {})
      writer.commit = () => promise
      return writer
    }
    return store
  }

  /** Slower than what nodes do among themselves, so that all of them have something to import. */
  class SlowTap extends Tap {
    override async passes(at: number, signal: AbortSignal): Promise<number> {
      for (let i = 0; i < 50; i++) await turn()
      signal.throwIfAborted()
      return at + PIECE
    }
  }
})

describe('a peer that says a wrong size', () => {
  for (const [name, size] of [
    ['too large', 6 * PIECE],
    ['too small', 2 * PIECE],
  ] as const) {
    it(`${name}, while others are honest, does not keep the blob from coming right`, async (t) => {
      const { bytes, digest } = content(4 * PIECE)
      const world = createWorld(t)
      await world.peer({ digest, bytes, size })
      await world.peer({ digest, bytes })
      await world.peer({ digest, bytes })
      const node = await world.node()
      await pull(node, digest, bytes)
    })

    it(`${name}, alone, with an origin, does not keep the blob from coming right`, async (t) => {
      const { bytes, digest } = content(4 * PIECE)
      const world = createWorld(t)
      await world.peer({ digest, bytes, size })
      const node = await world.node({ origin: { bytes } })
      await pull(node, digest, bytes, { origin })
    })
  }

  it('is found out when it is alone: nothing is kept', async (t) => {
    const { bytes, digest } = content(4 * PIECE)
    const world = createWorld(t)
    await world.peer({ digest, bytes, size: 3 * PIECE })
    const node = await world.node()
    await assert.rejects(node.read(digest), withCode('DIGEST_MISMATCH'))
    assert.equal(await node.store.open(digest), undefined)
  })
})

describe('a peer that signs nothing', () => {
  it('is of no use for a blob of several pieces, and the origin is gone to', async (t) => {
    const { bytes, digest } = content(4 * PIECE)
    const world = createWorld(t)
    await world.peer({ digest, bytes, claims: 'none' })
    const node = await world.node({ origin: { bytes } })
    await pull(node, digest, bytes, { origin })
    assert.equal(node.counts.bytes.origin, bytes.length)
  })
})
