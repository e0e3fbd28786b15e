import assert from 'node:assert/strict'
import { readdir, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { type Claim, encodeClaim } from '../../protocols/claim/codec.ts'
import { digestOf } from '../../protocols/digest.ts'
import { type BanFolder, createBanFolder } from '../../src/download/ban-folder.ts'
import { Bans, MAX_BANS } from '../../src/download/bans.ts'
import { createIdentity } from '../../src/net/identity.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { signClaim } from '../../src/transfer/claims.ts'
import { VirtualClock } from '../discovery/virtual-clock.ts'
import { tmp } from '../helpers/tmp.ts'
import { createWorld } from './rig.ts'

const HOUR = 60 * 60 * 1000
const peer = (name: string) => createIdentity(name).peerId

const text = (claim: Claim) => Buffer.from(encodeClaim(claim)).toString('base64')

/** Bans whose host only says whom it was told to keep out. */
function create(folder?: BanFolder) {
  const clock = new VirtualClock()
  const blocked = new Set<string>()
  const host = {
    block: async (peerId: string) => void blocked.add(peerId),
    unblock: (peerId: string) => void blocked.delete(peerId),
  }
  const bans = new Bans({ host, log: SILENT, folder, clock, wallClock: () => clock.now() })
  return { bans, blocked, clock }
}

async function statement(t: TestContext, kind: Claim['kind'], pieces: number): Promise<Claim> {
  const host = createWorld(t).network.host()
  const digest = digestOf(Buffer.from('x'))
  const hashes = Array.from({ length: pieces }, (_, i) => new Uint8Array(32).fill(i))
  return signClaim(host, { kind, digest, size: pieces * 1024 * 1024, first: 0, hashes })
}

describe('a ban', () => {
  it('is over by itself when its time has come, and the peer may connect then though nobody asks', async (t) => {
    const { bans, blocked, clock } = create()
    const lie = await statement(t, 'complete', 100)
    bans.add(peer('a'), 'sent wrong pieces')
    bans.add(lie.author, 'signed a lie', [lie])
    await bans.order(peer('b'), 'too loud', 2 * HOUR)
    assert.deepEqual([...blocked].sort(), [peer('a'), peer('b'), lie.author].sort())
    await clock.advance(10 * 60_000)
    assert.deepEqual([...blocked].sort(), [peer('b'), lie.author].sort())
    await clock.advance(2 * HOUR)
    assert.deepEqual([...blocked], [lie.author])
    await clock.advance(22 * HOUR)
    assert.deepEqual([blocked.size, bans.list().length, clock.pending], [0, 0, 0])
  })

  it('is short where only an importer is contradicted: its origin may have lied to it', async (t) => {
    const { bans, clock } = create()
    const word = await statement(t, 'import', 100)
    bans.add(word.author, 'signed a wrong piece list', [word])
    assert.deepEqual(bans.get(word.author)?.evidence, [word])
    await clock.advance(10 * 60_000)
    assert.equal(bans.has(word.author), false)
  })

  it('can be lifted by hand, at once, and only once', async () => {
    const { bans, blocked } = create()
    bans.add(peer('a'), 'sent wrong pieces')
    assert.equal(await bans.lift(peer('a')), true)
    assert.deepEqual([blocked.size, bans.has(peer('a')), await bans.lift(peer('a'))], [0, false, false])
  })

  it('is not shortened by another one, and keeps what was proven', async (t) => {
    const { bans, clock } = create()
    const lie = await statement(t, 'complete', 100)
    bans.add(lie.author, 'signed a lie', [lie])
    bans.add(lie.author, 'sent wrong pieces')
    assert.deepEqual([bans.get(lie.author)?.reason, bans.get(lie.author)?.evidence], ['signed a lie', [lie]])
    await bans.order(lie.author, 'enough', HOUR)
    const { reason, until, evidence, by } = bans.get(lie.author) ?? assert.fail('it is banned')
    assert.deepEqual([reason, until - clock.now(), evidence, by], ['enough', HOUR, [lie], 'operator'])
  })

  it("that is one too many ends the one that would have ended first, the operator's last", async () => {
    const { bans } = create()
    await bans.order(peer('loud'), 'too loud', 1_000)
    for (let i = 0; i < MAX_BANS + 5; i++) bans.add(`peer ${i}`, 'sent wrong pieces')
    assert.equal(bans.list().length, MAX_BANS)
    assert.ok(bans.has(peer('loud')))
    assert.ok(bans.has(`peer ${MAX_BANS + 4}`))
    assert.ok(!bans.has('peer 0'))
  })

  it('stays in force without its evidence when all the evidence together is too much to keep', async (t) => {
    const { bans } = create()
    const lie = await statement(t, 'complete', 1024)
    for (let i = 0; i < 400; i++) bans.add(`peer ${i}`, 'signed a lie', [lie])
    const kept = bans.list().reduce((sum, { evidence }) => sum + evidence.length, 0)
    assert.ok(kept * 32 * 1024 <= 8 << 20 && kept > 200, `${kept} statements`)
    assert.equal(bans.list().length, 400)
    assert.equal(bans.get('peer 399')?.evidence.length, 1)
    assert.equal(bans.get('peer 0')?.evidence.length, 0)
  })
})

describe('what is kept of bans in a folder', () => {
  it('is in force again in the next run, with its evidence and to the same moment, and not what was lifted or is over', async (t) => {
    const path = join(await tmp(t), 'bans')
    const lie = await statement(t, 'complete', 100)
    const first = create(createBanFolder(path, SILENT))
    await first.bans.load()
    first.bans.add(lie.author, 'signed a lie', [lie])
    first.bans.add(peer('a'), 'sent wrong pieces')
    await first.bans.order(peer('b'), 'too loud', HOUR)
    await first.bans.order(peer('c'), 'too loud', HOUR)
    await first.bans.lift(peer('c'))
    const before = first.bans.list()
    // no goodbye: what was promised is on the disk
    const second = create(createBanFolder(path, SILENT))
    await second.clock.advance(30 * 60_000)
    await second.bans.load()
    const sorted = (bans: typeof before) =>
      bans.map((ban) => ({ ...ban, evidence: ban.evidence.map(text) })).sort((a, b) => (a.peerId < b.peerId ? -1 : 1))
    assert.deepEqual(sorted(second.bans.list()), sorted(before.filter(({ peerId }) => peerId !== peer('a'))))
    assert.deepEqual([...second.blocked].sort(), [peer('b'), lie.author].sort())
    await second.bans[Symbol.asyncDispose]()
    assert.equal((await readdir(path)).length, 2, 'the one that is over is gone')
  })

  it('never keeps a node from starting, whatever is in it', async (t) => {
    const path = join(await tmp(t), 'bans')
    const { bans } = create(createBanFolder(path, SILENT))
    await bans.load()
    for (const name of ['a', 'b', 'c']) await bans.order(peer(name), 'too loud', HOUR)
    await truncate(join(path, `${peer('a')}.json`), 30)
    await writeFile(join(path, `${peer('b')}.json`), JSON.stringify({ peerId: peer('a'), since: 1, until: 2, evidence: {} }))
    await writeFile(join(path, `${peer('d')}.json.part`), 'half')
    await writeFile(join(path, 'notes.txt'), 'not ours')
    await writeFile(join(path, `${peer('e')}.json`), Buffer.alloc(1 << 20))
    const again = create(createBanFolder(path, SILENT))
    await again.bans.load()
    assert.deepEqual(
      again.bans.list().map(({ peerId }) => peerId),
      [peer('c')],
    )
    assert.ok(!(await readdir(path)).some((name) => name.endsWith('.part')))
  })

  it('a folder that can not be written costs a line in the log and no ban', async (t) => {
    const path = join(await tmp(t), 'file')
    await writeFile(path, '')
    const { bans } = create(createBanFolder(join(path, 'bans'), SILENT))
    await bans.load()
    await bans.order(peer('a'), 'too loud', HOUR)
    assert.ok(bans.has(peer('a')))
  })

  it('a statement that this version can not read is left out, and the ban is in force', async (t) => {
    const path = join(await tmp(t), 'bans')
    const lie = await statement(t, 'complete', 2)
    const { bans } = create(createBanFolder(path, SILENT))
    bans.add(lie.author, 'signed a lie', [lie])
    await bans[Symbol.asyncDispose]()
    const evidence = [Buffer.from([99]).toString('base64'), text(lie), 7]
    const times = { since: new Date(1_000).toISOString(), until: new Date(9e12).toISOString() }
    await writeFile(
      join(path, `${lie.author}.json`),
      JSON.stringify({ peerId: lie.author, reason: 'x', by: 'node', ...times, evidence }),
    )
    const again = create(createBanFolder(path, SILENT))
    await again.bans.load()
    assert.deepEqual(again.bans.get(lie.author)?.evidence.map(text), [text(lie)])
  })
})

describe('a node that bans a peer by hand', () => {
  it('has no connection to it, and may have one again as soon as the ban is lifted', async (t) => {
    const world = createWorld(t)
    const node = await world.node()
    const other = await world.node()
    const digest = await other.seed(Buffer.from('hello'))
    await node.host.connect(other.ref, { signal: t.signal })
    await node.bans.order(other.host.peerId, 'too loud', HOUR)
    assert.ok(!node.host.isConnected(other.host.peerId))
    await assert.rejects(other.host.connect(node.ref, { signal: t.signal }))
    await assert.rejects(node.read(digest))
    await node.bans.lift(other.host.peerId)
    assert.equal(String(await node.read(digest)), 'hello')
  })
})
