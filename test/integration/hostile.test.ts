import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { createBlob } from '../../examples/demo/image.ts'
import { openRegistry } from '../../examples/demo/registry.ts'
import { digestOf } from '../../protocols/digest.ts'
import { encodePieceData } from '../../protocols/piece/codec.ts'
import { MIN_PIECE_BYTES as PIECE } from '../../protocols/pieces.ts'
import { flipped } from '../download/rig.ts'
import { type DaemonProcess, startDaemon } from '../helpers/daemon.ts'
import { get } from '../helpers/pull.ts'
import { tmp } from '../helpers/tmp.ts'
import { until } from '../helpers/until.ts'
import { head, joinAsLiar, joinAsVandal, type Misbehaviour } from './hostile-peer.ts'

const PIECES = 8

/** A daemon whose registry has a blob of several pieces. */
async function start(t: TestContext) {
  const registry = await openRegistry()
  t.after(() => registry.close())
  const bytes = randomBytes(PIECES * PIECE)
  const digest = digestOf(bytes)
  registry.addBlob('team/app', createBlob(bytes))
  const daemon = await startDaemon(t, { dataDir: await tmp(t), upstreams: [`reg.test=${registry.url}`] })
  return { daemon, registry, bytes, digest, url: `${daemon.mirror}/v2/reg.test/team/app/blobs/${digest}` }
}

/** As a client does: asks again when it was cut. What it completes is right. */
async function pull(url: string, digest: string): Promise<void> {
  for (let tries = 1; ; tries++) {
    const got = await get(url).catch((error: unknown) => {
      if (tries === 3) throw error
    })
    if (got === undefined) continue
    assert.deepEqual([got.status, got.digest], [200, digest])
    return
  }
}

async function banned(daemon: DaemonProcess, peerId: string): Promise<string> {
  let reason: string | undefined
  await until('the liar is banned', async () => {
    const peer = (await daemon.peers()).find((p) => p.peerId === peerId)
    reason = peer?.ban?.reason
    return reason !== undefined && peer?.connected === false
  })
  await until('and the log says so', () =>
    lines(daemon).some((line) => line.msg === 'peer banned' && line.peerId === peerId && line.reason === reason),
  )
  return reason as string
}

function lines(daemon: DaemonProcess): Record<string, unknown>[] {
  return daemon.log.map((line) => JSON.parse(line) as Record<string, unknown>)
}

test('a peer that sends wrong bytes is banned, and the pull ends right', async (t) => {
  const { daemon, registry, bytes, digest, url } = await start(t)
  const wrong = flipped(bytes, ...Array.from({ length: PIECES }, (_, i) => i))
  const liar = await joinAsLiar(t, daemon, { digest, bytes: wrong, listed: bytes })
  await pull(url, String(digest))
  assert.match(await banned(daemon, liar.peerId), /wrong piece/)
  assert.ok((await daemon.metric('shoal_pieces_failed_total{where="peer"}')) >= 4)
  assert.ok(registry.blobBytes >= bytes.length - PIECE)
})

test('a peer whose wrong bytes match the list that it signed is proven a liar, and no client completes a wrong body', async (t) => {
  const { daemon, bytes, digest, url } = await start(t)
  const liar = await joinAsLiar(t, daemon, { digest, bytes: flipped(bytes, 2, 5) })
  await pull(url, String(digest))
  assert.match(await banned(daemon, liar.peerId), /signed/)
  assert.ok((await daemon.metric('shoal_pieces_failed_total{where="peer"}')) > 0)
})

test('a peer that says a wrong size does not keep the blob from anybody', async (t) => {
  const { daemon, bytes, digest, url } = await start(t)
  await joinAsLiar(t, daemon, { digest, bytes, size: bytes.length + PIECE })
  await pull(url, String(digest))
})

const half = (id: number) => [encodePieceData(id, PIECE / 2), randomBytes(PIECE / 2)]

const VANDALS: Record<string, (size: number) => Partial<Misbehaviour>> = {
  'sends garbage where it should say what it holds': () => ({ state: [randomBytes(1000)] }),
  'announces a message over the limit': () => ({ state: [Buffer.from([0x7f, 0xff, 0xff, 0xff])] }),
  'sends garbage for a piece': () => ({ answer: (_id, _index, channel) => channel.write([randomBytes(100_000)]) }),
  'sends more than it was asked for': (size) => ({
    answer: async (id, _index, channel) => {
      await channel.write([head(id, size, PIECE), ...half(id), ...half(id), ...half(id)])
    },
  }),
}

for (const [what, misbehaviour] of Object.entries(VANDALS)) {
  test(`a peer that ${what} is left with a line in the log, and the pull ends right`, async (t) => {
    const { daemon, bytes, digest, url } = await start(t)
    const vandal = await joinAsVandal(t, daemon, { digest, size: bytes.length, ...misbehaviour(bytes.length) })
    await pull(url, String(digest))
    const found = () => lines(daemon).find(({ peerId, level }) => peerId === vandal.peerId && Number(level) >= 40)
    await until('the log says so', () => found() !== undefined)
    const line = found()
    assert.match(String(line?.code), /^MESSAGE_(MALFORMED|TOO_LARGE)$/, daemon.log.join('\n'))
  })
}

const IDLERS: Record<string, (size: number) => Partial<Misbehaviour>> = {
  'never says anything': () => ({ state: [] }),
  'says that it holds everything and sends nothing': () => ({}),
  'sends half of each piece and no more': (size) => ({
    answer: (id, _index, channel) => channel.write([head(id, size, PIECE), ...half(id)]),
  }),
  'ends its stream in the middle of each piece': (size) => ({
    answer: async (id, _index, channel) => {
      await channel.write([head(id, size, PIECE), ...half(id)])
      await channel.close()
    },
  }),
}

for (const [what, misbehaviour] of Object.entries(IDLERS)) {
  test(`a peer that ${what} holds a pull up for seconds at most, and is not banned for it`, async (t) => {
    const { daemon, bytes, digest, url } = await start(t)
    const idler = await joinAsVandal(t, daemon, { digest, size: bytes.length, ...misbehaviour(bytes.length) })
    const began = performance.now()
    await pull(url, String(digest))
    assert.ok(performance.now() - began < 15_000, `${performance.now() - began} ms`)
    assert.equal((await daemon.peers()).find(({ peerId }) => peerId === idler.peerId)?.ban, undefined)
    assert.equal(await daemon.metric('shoal_download_bytes_total{source="peer"}'), 0)
  })
}
