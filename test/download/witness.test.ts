import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { describe, it, type TestContext } from 'node:test'
import type { Claim } from '../../protocols/claim/codec.ts'
import { encodeClaim } from '../../protocols/claim/codec.ts'
import { type Digest, digestOf } from '../../protocols/digest.ts'
import { encodeEvidence } from '../../protocols/evidence/codec.ts'
import { EVIDENCE_PROTOCOL } from '../../protocols/evidence/limits.ts'
import { encodeFrame } from '../../protocols/frame.ts'
import { geometryOf, pieceLength, pieceOffset } from '../../protocols/pieces.ts'
import { Accusations } from '../../src/download/accusations.ts'
import { evidenceIn } from '../../src/download/witness.ts'
import type { Host } from '../../src/net/host.ts'
import { signClaim, verifyClaim } from '../../src/transfer/claims.ts'
import { until } from '../helpers/until.ts'
import { content, createWorld, flipped, NEVER, PIECE, type TestNode } from './rig.ts'
import { BLOB_SOURCE, Tap } from './scripted-origin.ts'

/** That this host held all of it, signed; `bytes` need not be what the digest names. */
function sign(host: Host, digest: Digest, bytes: Uint8Array, kind: Claim['kind'] = 'complete'): Promise<Claim> {
  const geometry = geometryOf(bytes.length)
  const hashes = Array.from({ length: geometry.pieces }, (_, index) => {
    const at = pieceOffset(geometry, index)
    return hash('sha256', bytes.subarray(at, at + pieceLength(geometry, index)), 'buffer')
  })
  return signClaim(host, { kind, digest, size: bytes.length, first: 0, hashes })
}

/** Shows a node some bytes as evidence. @returns how that ended */
async function show(host: Host, node: TestNode, message: Uint8Array): Promise<'read' | 'reset'> {
  try {
    const channel = await host.open(node.ref, EVIDENCE_PROTOCOL, { signal: NEVER })
    const read = channel.read(() => assert.fail('nothing is answered'))
    await Promise.all([read, channel.write([encodeFrame(message)]).then(() => channel.close())])
    return 'read'
  } catch {
    return 'reset'
  }
}

const frameOf = (...claims: Claim[]) => encodeEvidence({ claims: claims as [Claim] })

/** The bytes of a message that no honest encoder makes. */
const rawFrame = (...claims: Claim[]) => Buffer.concat([Buffer.from([claims.length]), ...claims.map(encodeClaim)])

async function connect(t: TestContext, node: TestNode, ...hosts: Host[]): Promise<void> {
  for (const host of hosts) await node.host.connect({ id: host.peerId, addresses: host.addresses() }, { signal: t.signal })
}

describe('evidence of a lie', () => {
  it('is shown by who found it to neighbours, who check it against what they hold, ban the liar, and show it on', async (t) => {
    const { bytes, digest } = content(8 * PIECE)
    const world = createWorld(t)
    const liar = await world.peer({ digest, bytes: flipped(bytes, 2, 5) })
    const finder = await world.node({ origin: { bytes } })
    const [near, far, ignorant] = await Promise.all([world.node(), world.node(), world.node()])
    for (const holder of [near, far])
      await holder.store.ingest(
        (async function* () {
          yield bytes
        })(),
        { signal: NEVER },
      )
    await connect(t, near, liar.host, finder.host, far.host, ignorant.host)
    await connect(t, far, liar.host)
    await connect(t, ignorant, liar.host)
    const read = finder.read(digest, { origin: BLOB_SOURCE }).catch(() => finder.read(digest, { origin: BLOB_SOURCE }))
    assert.ok((await read).equals(bytes))
    for (const node of [finder, near, far]) {
      await until('the liar is banned', () => node.bans.has(liar.host.peerId))
      const [lie, ...more] = node.bans.get(liar.host.peerId)?.evidence ?? []
      assert.ok(lie !== undefined && more.length === 0)
      assert.ok(lie.author === liar.host.peerId && lie.kind === 'complete' && (await verifyClaim(node.host, lie)))
      assert.ok(!node.host.isConnected(liar.host.peerId))
      assert.equal(node.bans.list().length, 1)
    }
    assert.deepEqual(ignorant.bans.list(), [], 'who can not check believes nothing')
  })

  it('about a blob that is still coming in is kept, and counts once its digest has been verified', async (t) => {
    const { bytes, digest } = content(4 * PIECE)
    const world = createWorld(t)
    const [liar, witness] = [world.network.host(), world.network.host()]
    const tap = new Tap()
    const node = await world.node({ origin: { bytes, tap } })
    await connect(t, node, liar)
    const lie = await sign(liar, digest, flipped(bytes, 1))
    const read = node.read(digest, { origin: BLOB_SOURCE })
    await until('it is coming in', () => node.downloads.incoming(digest) !== undefined)
    assert.equal(await show(witness, node, frameOf(lie)), 'read')
    assert.deepEqual([node.accusations.size, node.bans.list().length], [1, 0])
    tap.open()
    assert.ok((await read).equals(bytes))
    await until('the liar is banned', () => node.bans.has(liar.peerId))
    assert.equal(node.accusations.size, 0)
  })

  it('that contradicts itself needs no blob', async (t) => {
    const { bytes, digest } = content(4 * PIECE)
    const world = createWorld(t)
    const [a, b, witness] = [world.network.host(), world.network.host(), world.network.host()]
    const node = await world.node()
    await connect(t, node, a, b)
    await show(witness, node, frameOf(await sign(a, digest, bytes), await sign(a, digest, flipped(bytes, 3))))
    assert.equal(node.bans.get(a.peerId)?.evidence.length, 2)
    const small = Buffer.from('hello')
    await show(witness, node, frameOf(await sign(b, digestOf(small), Buffer.from('hallo'))))
    assert.equal(node.bans.get(b.peerId)?.evidence.length, 1)
  })

  it("about a blob that came with a client's credentials is shown to nobody", async (t) => {
    const { bytes, digest } = content(2 * PIECE)
    const world = createWorld(t)
    const liar = world.network.host()
    const [owner, other] = [await world.node(), await world.node()]
    for (const node of [owner, other]) {
      const meta = node === owner ? { restrictedTo: ['reg.test/team/app'] } : {}
      await node.store.ingest(
        (async function* () {
          yield bytes
        })(),
        { meta, signal: NEVER },
      )
      await connect(t, node, liar)
    }
    await connect(t, owner, other.host)
    const lie = await sign(liar, digest, flipped(bytes, 1))
    owner.bans.add(liar.peerId, 'signed a wrong piece list', [lie])
    const free = digestOf(Buffer.from('free'))
    const second = world.network.host()
    await connect(t, other, second)
    owner.bans.add(second.peerId, 'signed a wrong piece list', [await sign(second, free, Buffer.from('flee'))])
    await until('what came later is known', () => other.bans.has(second.peerId))
    assert.ok(!other.bans.has(liar.peerId))
  })
})

describe('a hostile witness', () => {
  async function court(t: TestContext) {
    const { bytes, digest } = content(4 * PIECE)
    const world = createWorld(t)
    const [witness, honest, stranger] = [world.network.host(), world.network.host(), world.network.host()]
    const node = await world.node()
    await node.seed(bytes)
    await connect(t, node, honest)
    return { bytes, digest, world, witness, honest, stranger, node }
  }

  it('can not get an honest peer banned', async (t) => {
    const { bytes, digest, witness, honest, node } = await court(t)
    const right = await sign(honest, digest, bytes)
    const wrong = await sign(witness, digest, flipped(bytes, 1))
    const about = { digest, size: bytes.length, first: 0 }
    const unknown = digestOf(Buffer.from('unknown'))
    const attempts: [string, Uint8Array, 'read' | 'reset'][] = [
      ['what it really signed', frameOf(right), 'read'],
      ['what it did not sign', frameOf({ ...wrong, author: honest.peerId }), 'reset'],
      ['what it signed, altered', frameOf({ ...right, hashes: wrong.hashes }), 'reset'],
      ['what it signed beside what it did not', frameOf(right, { ...wrong, author: honest.peerId }), 'reset'],
      ['an import', rawFrame(await sign(honest, digest, flipped(bytes, 1), 'import')), 'reset'],
      ['the same twice', rawFrame(right, right), 'reset'],
      [
        'about a blob that nobody can check',
        frameOf(await signClaim(honest, { ...about, kind: 'complete', digest: unknown, hashes: right.hashes })),
        'read',
      ],
    ]
    for (const [what, message, outcome] of attempts) assert.equal(await show(witness, node, message), outcome, what)
    assert.deepEqual(node.bans.list(), [])
    assert.equal(node.accusations.size, 0)
    assert.ok(node.log.some(({ msg, teller }) => msg === 'a peer accuses another of what is so' && teller === witness.peerId))
  })

  it('can not fill the bans with peers that it makes up', async (t) => {
    const { bytes, digest, witness, stranger, node } = await court(t)
    assert.equal(await show(witness, node, frameOf(await sign(stranger, digest, flipped(bytes, 1)))), 'read')
    assert.deepEqual(node.bans.list(), [])
    await connect(t, node, stranger)
    await show(witness, node, frameOf(await sign(stranger, digest, flipped(bytes, 1))))
    assert.ok(node.bans.has(stranger.peerId))
  })

  it('that floods is not read any more, and others are', async (t) => {
    const { bytes, digest, world, witness, honest, stranger, node } = await court(t)
    const right = frameOf(await sign(honest, digest, bytes))
    const outcomes: string[] = []
    for (let i = 0; i < 40; i++) outcomes.push(await show(witness, node, right))
    assert.equal(outcomes.filter((outcome) => outcome === 'read').length, 8)
    await connect(t, node, stranger)
    const lie = await sign(stranger, digest, flipped(bytes, 1))
    assert.equal(await show(witness, node, frameOf(lie)), 'reset')
    assert.equal(await show(world.network.host(), node, frameOf(lie)), 'read')
    assert.ok(node.bans.has(stranger.peerId))
  })

  it('that sends what is too long or half, or says nothing, is left', async (t) => {
    const { witness, node } = await court(t)
    assert.equal(await show(witness, node, new Uint8Array(65_958).fill(1)), 'reset')
    assert.equal(await show(witness, node, Uint8Array.of(1, 1, 1)), 'reset')
    assert.equal(await show(witness, node, Uint8Array.of(0)), 'reset')
    const channel = await witness.open(node.ref, EVIDENCE_PROTOCOL, { signal: NEVER })
    await channel.close()
    await assert.rejects(channel.read(() => {}))
    assert.deepEqual(node.bans.list(), [])
  })
})

describe('accusations that wait for the truth', () => {
  it('are bounded, of all and of each who tells, and one of each author about each blob is enough', async (t) => {
    const host = createWorld(t).network.host()
    const claims = await Promise.all(
      Array.from({ length: 100 }, (_, i) => sign(host, digestOf(Buffer.from(`${i}`)), Buffer.from('x'))),
    )
    const one = new Accusations()
    for (const claim of claims) one.add(claim, 'teller')
    assert.equal(one.size, 8)
    assert.deepEqual(one.take((claims[99] as Claim).digest), [claims[99]])
    one.add(claims[98] as Claim, 'another')
    assert.equal(one.size, 7)
    const all = new Accusations()
    for (const [i, claim] of claims.entries()) all.add(claim, `teller ${i}`)
    assert.equal(all.size, 64)
    assert.deepEqual(all.take((claims[0] as Claim).digest), [])
  })
})

describe('what of a ban is shown', () => {
  it('is what others can check: two that differ, or what a holder signed, and nothing of an importer', async (t) => {
    const { bytes, digest } = content(2 * PIECE)
    const host = createWorld(t).network.host()
    const [a, b, c] = await Promise.all([
      sign(host, digest, bytes),
      sign(host, digest, flipped(bytes, 1)),
      sign(host, digest, flipped(bytes, 0), 'import'),
    ])
    assert.deepEqual(evidenceIn([c]), [])
    assert.deepEqual(evidenceIn([c, a]), [{ claims: [a] }])
    assert.deepEqual(evidenceIn([a, c, b]), [{ claims: [a, b] }])
  })
})
