import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Progress } from '../../benchmarks/swarm/progress.ts'
import { type PieceHeld, parsePieceLine, summariseTimeline, timelineText } from '../../benchmarks/swarm/timeline.ts'
import { timelineChart } from '../../benchmarks/swarm/timeline-chart.ts'

const digest = 'sha256:ab'
const START = Date.parse('2026-11-21T15:00:00.000Z')

function line(index: number, from: string, seconds: number): string {
  return JSON.stringify({
    level: 10,
    time: new Date(START + seconds * 1_000).toISOString(),
    digest,
    index,
    from,
    msg: 'piece held',
  })
}

/** Two hosts, two pieces: each imports one, one is imported twice. */
const HELD: readonly PieceHeld[] = [
  [1, 0, 'origin', 1],
  [2, 1, 'origin', 1.5],
  [2, 0, 'host1', 2],
  [1, 1, 'origin', 3],
].map(([host, index, from, at]) => ({ host, index, from, digest, time: START + Number(at) * 1_000 }) as PieceHeld)

test('only lines about pieces are read', () => {
  assert.deepEqual(parsePieceLine(3, line(7, 'origin', 2)), { time: START + 2_000, host: 3, digest, index: 7, from: 'origin' })
  assert.equal(parsePieceLine(3, '{"level":30,"msg":"peer banned"}'), undefined)
})

test('a timeline says for each host when it had how much and from where, and what was imported twice', () => {
  const summary = summariseTimeline(HELD, START, 2)
  assert.deepEqual(summary.hosts, [
    { host: 1, firstAt: 1, halfAt: 1, lastAt: 3, pieces: 2, fromOrigin: 2, fromPeers: 0, importedAgain: 1 },
    { host: 2, firstAt: 1.5, halfAt: 1.5, lastAt: 2, pieces: 2, fromOrigin: 1, fromPeers: 1, importedAgain: 0 },
  ])
  assert.equal(summary.copyAt, 1.5)
  assert.deepEqual(summary.importsBySecond, [0, 2])
  assert.deepEqual(summary.spread, { p50: 1.25, max: 1.5 })
  assert.match(timelineText(summary), /1 pieces were imported more than once/)
})

test('a timeline is drawn with a dot for each piece', () => {
  const svg = timelineChart({ title: 'two hosts', held: HELD, start: START, pieces: 2, hosts: 2, usage: [] })
  assert.match(svg, /^<svg/)
  assert.match(svg, /two hosts/)
})

test('how far a crowd has come is known from its logs, other blobs left out', async () => {
  const progress = new Progress([{ digest, size: 300_000 }], 2)
  const seen = progress.until(({ heldPart }) => heldPart >= 0.75, AbortSignal.timeout(10_000))
  assert.equal(progress.pieces, 2)
  progress.hear(1, line(0, 'origin', 1))
  progress.hear(2, line(0, 'host1', 1))
  assert.deepEqual([progress.heldPart, progress.importedPart], [0.5, 0.5])
  progress.hear(1, line(0, 'origin', 1).replace(digest, 'sha256:cd'))
  assert.equal(progress.heldPart, 0.5)
  progress.hear(2, line(1, 'origin', 2))
  await seen
  assert.deepEqual([progress.heldPart, progress.importedPart], [0.75, 1])
})
