import assert from 'node:assert/strict'
import { test } from 'node:test'
import { geometryOf } from '../../protocols/pieces.ts'
import { Importer } from '../../src/download/importer.ts'
import type { Incoming } from '../../src/download/incoming.ts'
import type { Introduction } from '../../src/download/introduction.ts'
import type { Grant } from '../../src/rendezvous/rendezvous.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { content, createWorld, PIECE } from './rig.ts'
import { BLOB_SOURCE, createScriptedOrigin } from './scripted-origin.ts'

const PIECES = 8

/** An importer in a crowd whose question is answered when the test says so, and what is held here by then. */
function crowded() {
  const { bytes, digest } = content(PIECES * PIECE)
  const origin = createScriptedOrigin({ bytes })
  const held = new Set<number>()
  const answer = Promise.withResolvers<Grant>()
  const over = Promise.withResolvers<void>()
  const incoming = {
    digest,
    geometry: geometryOf(bytes.length),
    writer: { have: held },
    bell: { ring: () => over.resolve() },
  }
  const introduction = { alone: false, ask: () => answer.promise }
  const importer = new Importer(incoming as unknown as Incoming, {
    claimedSize: false,
    origin,
    introduction: introduction as unknown as Introduction,
    log: SILENT,
    metrics: undefined as never,
    onFailure: () => {},
    onBody: async () => {},
  })
  importer.addSource(BLOB_SOURCE)
  return { importer, origin, held, answer, over: over.promise }
}

test('what has come while the question was on its way is not asked of the origin when it is granted', async () => {
  const { importer, origin, held, answer, over } = crowded()
  const said: unknown[] = []
  const grant = {
    first: 2,
    last: 3,
    progress: (index: number) => said.push(index),
    end: (outcome: unknown) => said.push(outcome),
  }
  importer.pump([2, 3, 4], (index) => !held.has(index), new AbortController().signal)
  held.add(2).add(3)
  answer.resolve(grant as unknown as Grant)
  await over
  assert.deepEqual(said, [2, 3, { ok: true }])
  assert.equal(origin.opens.length, 0)
})

test('a node that is alone in its zone imports by few requests, one after the other, and nothing twice', async (t) => {
  const { bytes, digest } = content(100 * PIECE + 7)
  const node = await createWorld(t).node({ origin: { bytes }, zone: true })
  assert.ok((await node.read(digest, { origin: BLOB_SOURCE })).equals(bytes))
  const { opens, sentBytes } = node.origin
  let at = 0
  for (const { start, end } of opens) {
    assert.equal(start, at)
    at = end ?? bytes.length
  }
  assert.equal(at, bytes.length)
  assert.equal(sentBytes, bytes.length)
  assert.ok(opens.length <= 6, `${opens.length}`)
})

test('a small blob is one request where a node is alone in its zone', async (t) => {
  const { bytes, digest } = content(4 * PIECE)
  const node = await createWorld(t).node({ origin: { bytes }, zone: true })
  assert.ok((await node.read(digest, { origin: BLOB_SOURCE })).equals(bytes))
  assert.equal(node.origin.opens.length, 1)
})
