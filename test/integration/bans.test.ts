import assert from 'node:assert/strict'
import { hash, randomBytes } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createBlob } from '../../examples/demo/image.ts'
import { openRegistry } from '../../examples/demo/registry.ts'
import { encodeClaim } from '../../protocols/claim/codec.ts'
import { digestOf } from '../../protocols/digest.ts'
import { encodeEvidence } from '../../protocols/evidence/codec.ts'
import { EVIDENCE_PROTOCOL } from '../../protocols/evidence/limits.ts'
import { encodeFrame } from '../../protocols/frame.ts'
import { MIN_PIECE_BYTES as PIECE } from '../../protocols/pieces.ts'
import { signClaim } from '../../src/transfer/claims.ts'
import { runShoal } from '../cli/run-shoal.ts'
import { flipped } from '../download/rig.ts'
import { connected, type DaemonProcess, startDaemon } from '../helpers/daemon.ts'
import { get } from '../helpers/pull.ts'
import { tmp } from '../helpers/tmp.ts'
import { until } from '../helpers/until.ts'
import { openTestHost } from '../net/test-host.ts'
import { joinAsLiar } from './hostile-peer.ts'

/** A registry with a blob of several pieces. */
async function registry(t: TestContext) {
  const registry = await openRegistry()
  t.after(() => registry.close())
  const bytes = randomBytes(8 * PIECE)
  const digest = digestOf(bytes)
  registry.addBlob('team/app', createBlob(bytes))
  const pull = async ({ mirror }: DaemonProcess) => {
    const url = `${mirror}/v2/reg.test/team/app/blobs/${digest}`
    const got = await get(url).catch(() => get(url))
    assert.deepEqual([got.status, got.digest], [200, String(digest)])
  }
  return { upstreams: [`reg.test=${registry.url}`], bytes, digest, pull }
}

interface BanAnswer {
  readonly reason: string
  readonly by: string
  readonly until: string
  readonly evidence: readonly { readonly kind: string; readonly digest: string; readonly statement: string }[]
}

async function banOf(daemon: DaemonProcess, peerId: string): Promise<BanAnswer | undefined> {
  const response = await fetch(`${daemon.control}/v1/bans/${peerId}`)
  const answer = await response.json()
  return response.status === 200 ? (answer as BanAnswer) : undefined
}

async function banned(daemon: DaemonProcess, peerId: string): Promise<BanAnswer> {
  let ban: BanAnswer | undefined
  await until('it is banned', async () => {
    ban = await banOf(daemon, peerId)
    return ban !== undefined
  })
  return ban as BanAnswer
}

test('a ban is kept over a kill -9 with its evidence, and the command line lifts it for good', async (t) => {
  const { upstreams, bytes, digest, pull } = await registry(t)
  const dataDir = await tmp(t)
  const first = await startDaemon(t, { dataDir, upstreams })
  const liar = await joinAsLiar(t, first, { digest, bytes: flipped(bytes, 2, 5) })
  await pull(first)
  const before = await banned(first, liar.peerId)
  assert.match(before.reason, /signed/)
  assert.deepEqual(
    before.evidence.map(({ kind, digest: about }) => [kind, about]),
    [['complete', String(digest)]],
  )
  await until('it is on the disk', async () => (await readdir(join(dataDir, 'bans'))).includes(`${liar.peerId}.json`))
  await first.kill()

  const second = await startDaemon(t, { dataDir, upstreams })
  assert.deepEqual(await banOf(second, liar.peerId), before)
  const signal = AbortSignal.timeout(20_000)
  const at = { id: second.peerId, addresses: second.addresses }
  await liar.connect(at, { signal }).catch(() => {})
  await until('it is not let in', async () => {
    const peers = await second.peers()
    return peers.some(({ peerId, connected }) => peerId === liar.peerId && !connected)
  })

  const control = second.control.slice('http://'.length)
  const ran = await runShoal(['unban', liar.peerId, '--control', control])
  assert.deepEqual([ran.code, String(ran.stdout)], [0, `${liar.peerId}\n`])
  await until('it may connect', async () => {
    await liar.connect(at, { signal }).catch(() => {})
    return (await second.peers()).some(({ peerId, connected }) => peerId === liar.peerId && connected)
  })
  assert.equal((await runShoal(['unban', liar.peerId, '--control', control])).code, 3)
  await second.kill()
  const third = await startDaemon(t, { dataDir, upstreams })
  assert.equal(await banOf(third, liar.peerId), undefined)
})

test('a peer that is banned by hand is cut off at once, whatever it does, and comes back when the time is over', async (t) => {
  const one = await startDaemon(t, { dataDir: await tmp(t) })
  const other = await startDaemon(t, { dataDir: await tmp(t), bootstrap: one.addresses })
  await connected([one, other])
  const control = one.control.slice('http://'.length)
  const ran = await runShoal(['ban', other.peerId, '--for', '2s', '--reason', 'too loud', '--json', '--control', control])
  assert.equal(ran.code, 0, ran.stderr)
  const ban = JSON.parse(String(ran.stdout)) as BanAnswer
  assert.deepEqual([ban.reason, ban.by, ban.evidence], ['too loud', 'operator', []])
  assert.equal((await one.status()).connectedPeers, 0)
  await connected([one, other])
  assert.ok(Date.now() >= Date.parse(ban.until))
  assert.equal((await runShoal(['ban', one.peerId, '--control', control])).code, 2, 'not itself')
})

test('what a liar has signed goes from daemon to daemon, and those who hold the blob ban it', async (t) => {
  const bytes = randomBytes(2 * PIECE)
  const digest = digestOf(bytes)
  const first = await startDaemon(t, { dataDir: await tmp(t) })
  const second = await startDaemon(t, { dataDir: await tmp(t), bootstrap: first.addresses })
  const ignorant = await startDaemon(t, { dataDir: await tmp(t), bootstrap: first.addresses })
  await connected([first, second, ignorant])
  for (const { control } of [first, second])
    assert.equal((await fetch(`${control}/v1/blobs`, { method: 'POST', body: bytes })).status, 201)
  const [liar, witness] = [await openTestHost(), await openTestHost()]
  t.after(() => Promise.all([liar, witness].map((host) => host[Symbol.asyncDispose]())))
  const signal = AbortSignal.timeout(20_000)
  for (const { peerId, addresses } of [first, second, ignorant]) await liar.connect({ id: peerId, addresses }, { signal })
  const hashes = [0, 1].map((index) => hash('sha256', `wrong ${index}`, 'buffer'))
  const lie = await signClaim(liar, { kind: 'complete', digest, size: bytes.length, first: 0, hashes })

  const channel = await witness.open({ id: first.peerId, addresses: first.addresses }, EVIDENCE_PROTOCOL, { signal })
  await Promise.all([
    channel.read(() => assert.fail('nothing is answered')),
    channel.write([encodeFrame(encodeEvidence({ claims: [lie] }))]).then(() => channel.close()),
  ])
  for (const daemon of [first, second]) {
    const { evidence } = await banned(daemon, liar.peerId)
    assert.deepEqual(
      evidence.map(({ statement }) => statement),
      [Buffer.from(encodeClaim(lie)).toString('base64')],
    )
  }
  assert.equal(await banOf(ignorant, liar.peerId), undefined)
  assert.equal(await banOf(first, witness.peerId), undefined)
})
