import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { ShoalError } from '../../src/errors.ts'
import { until } from '../helpers/until.ts'
import { content, createWorld, flipped, PIECE, type TestNode } from './rig.ts'
import { BLOB_SOURCE, type OriginScript } from './scripted-origin.ts'
import { lacks, type PeerScript } from './scripted-peer.ts'

const PIECES = 7
const SEEDS = 24
/** Connections lost during the first second; then the network has calmed down. */
const MAX_CUTS = 40

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
function createRandom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

describe('whatever goes wrong at once', () => {
  for (let seed = 1; seed <= SEEDS; seed++) {
    it(`no reader completes a wrong body, and who has an honest origin gets the right one (seed ${seed})`, (t) => chaos(t, seed))
  }
})

async function chaos(t: TestContext, seed: number): Promise<void> {
  const random = createRandom(seed)
  const world = createWorld(t)
  const { bytes, digest } = content(PIECES * PIECE - Math.floor(random() * 1000))
  const peers = await Promise.all(Array.from({ length: 4 }, () => world.peer(badPeer(random, digest, bytes))))
  const nodes = await Promise.all([true, false, false].map((has) => world.node(has ? { origin: badOrigin(random, bytes) } : {})))
  const hosts = [...peers, ...nodes].map(({ host }) => host)
  let cuts = 0
  const cutting = setInterval(() => {
    const [a, b] = [pick(random, hosts), pick(random, hosts)]
    if (a !== b) world.network.cut(a, b)
    if (++cuts === MAX_CUTS) clearInterval(cutting)
  }, 20)
  t.after(() => clearInterval(cutting))

  const outcomes = await Promise.all(nodes.map((node, i) => pull(node, digest, bytes, i === 0)))
  clearInterval(cutting)
  assert.equal(outcomes[0], 'right', `the node with the origin: ${JSON.stringify(nodes[0]?.log.slice(-20))}`)
  for (const node of nodes) {
    await until('all downloads have ended', () => node.downloads.progress().length === 0)
    assert.equal(node.origin.openBodies, 0)
    for (const { peerId } of node.bans.list())
      assert.ok(!nodes.some(({ host }) => host.peerId === peerId), 'an honest node that was lied to is not taken for a liar')
  }
}

/** Tries as a client does: a few times. @returns how it ended; never with a wrong body */
async function pull(node: TestNode, digest: Parameters<TestNode['read']>[0], bytes: Buffer, hasOrigin: boolean): Promise<string> {
  let failure: unknown
  for (let tries = hasOrigin ? 5 : 2; tries > 0; tries--) {
    try {
      const got = await node.read(digest, { ...(hasOrigin ? { origin: BLOB_SOURCE } : {}), signal: AbortSignal.timeout(20_000) })
      assert.ok(got.equals(bytes), 'a body that was completed is right')
      return 'right'
    } catch (error) {
      if (!(error instanceof ShoalError)) throw error
      failure = error
    }
  }
  return String(failure)
}

function badPeer(random: () => number, digest: PeerScript['digest'], bytes: Buffer): PeerScript {
  const some = (share: number) => Array.from({ length: PIECES }, (_, i) => i).filter(() => random() < share)
  const wrong = flipped(bytes, ...some(0.4))
  const base: PeerScript = random() < 0.5 ? { digest, bytes } : { digest, bytes, pieces: some(0.6), claims: 'import' }
  const faults: (() => PeerScript)[] = [
    () => base,
    () => ({ ...base, bytes: wrong }),
    () => ({ ...base, bytes: wrong, listed: bytes }),
    () => ({ ...base, bytes, listed: wrong }),
    () => ({ digest, bytes, size: bytes.length + Math.floor((random() - 0.5) * 2 * PIECE) }),
    () => ({ ...base, claims: 'none' }),
    () => ({ ...base, before: (index) => (random() < 0.3 ? lacks(index) : undefined) }),
  ]
  return pick(random, faults)()
}

/** Honest in its bytes, and bad in all else. */
function badOrigin(random: () => number, bytes: Buffer): OriginScript {
  const script = {
    bytes,
    refuse: (nth: number) => (nth % 3 === 1 ? new ShoalError('ORIGIN_FAILED', '503') : undefined),
    ...(random() < 0.5 ? { cutAfterBytes: Math.floor((1.1 + 2 * random()) * PIECE) } : {}),
  }
  return random() < 0.3
    ? { ...script, size: undefined, refuse: () => undefined, cutAfterBytes: Number.POSITIVE_INFINITY }
    : script
}

function pick<T>(random: () => number, from: readonly T[]): T {
  return from[Math.floor(random() * from.length)] as T
}
