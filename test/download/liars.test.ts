import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Digest } from '../../protocols/digest.ts'
import { codeOf } from '../../src/errors.ts'
import { verifyClaim } from '../../src/transfer/claims.ts'
import { content, createWorld, flipped, PIECE, type ReadOptions, type TestNode, withCode } from './rig.ts'
import { BLOB_SOURCE } from './scripted-origin.ts'

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
