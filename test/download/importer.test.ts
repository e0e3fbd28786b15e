import assert from 'node:assert/strict'
import { test } from 'node:test'
import { geometryOf } from '../../protocols/pieces.ts'
import { Importer } from '../../src/download/importer.ts'
import type { Incoming } from '../../src/download/incoming.ts'
import type { Introduction } from '../../src/download/introduction.ts'
import type { Grant } from '../../src/rendezvous/rendezvous.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { content, PIECE } from './rig.ts'
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
