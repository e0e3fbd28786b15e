import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { met, row } from '../../benchmarks/lib/aim.ts'
import { content } from '../../benchmarks/lib/content.ts'
import { selfTimes } from '../../benchmarks/lib/cpu-profile.ts'
import { markdownTable, terminalTable } from '../../benchmarks/lib/report.ts'
import { quantile, spreadOf } from '../../benchmarks/lib/stats.ts'

test('a spread has the middle, the least and the most', () => {
  assert.deepEqual(spreadOf([3, 1, 2]), { median: 2, min: 1, max: 3 })
  assert.equal(quantile([1, 2, 3, 4], 0.5), 2.5)
  assert.equal(quantile([1, 2], 1), 2)
  assert.ok(Number.isNaN(spreadOf([]).median))
})

test('an aim is judged by the median, and its edge is met', () => {
  const values = { median: 5, min: 1, max: 9 }
  assert.ok(met(values, { than: 'less', value: 5 }))
  assert.ok(met(values, { than: 'more', value: 5 }))
  assert.ok(!met(values, { than: 'less', value: 4.9 }))
  assert.deepEqual(row({ what: 'CPU', unit: 's', values, aim: { than: 'less', value: 4 }, digits: 0 }), [
    'CPU',
    's',
    '5 (1–9)',
    '≤ 4',
    'MISSED',
  ])
})

test('generated content is the same for the same name, another for another, and no compressor makes it smaller', () => {
  const digest = (name: string, bytes: number) => {
    const hash = createHash('sha256')
    let length = 0
    for (const chunk of content(name, bytes)) {
      hash.update(chunk)
      length += chunk.length
    }
    assert.equal(length, bytes)
    return hash.digest('hex')
  }
  assert.equal(digest('a', 3_000_001), digest('a', 3_000_001))
  assert.notEqual(digest('a', 1_000), digest('b', 1_000))
  const [first] = content('a', 100_000)
  assert.ok(gzipSync(first as Buffer).length >= 100_000)
})

test('tables are aligned for a terminal, and Markdown for a page', () => {
  const columns = ['a', 'bbb']
  const rows = [['1234', '5']]
  assert.equal(terminalTable(columns, rows), '  a     bbb\n  1234  5')
  assert.equal(markdownTable(columns, rows), '| a | bbb |\n| --- | --- |\n| 1234 | 5 |')
})

test('a profile is summed up by place, without the time spent waiting', () => {
  const node = (id: number, functionName: string) => ({ id, callFrame: { functionName, url: '' } })
  const nodes = [node(1, '(idle)'), node(2, 'work'), node(3, 'rest')]
  const profile = { nodes, startTime: 7e6, samples: [1, 2, 3, 2], timeDeltas: [1e6, 1e6, 5e5, 2e6] }
  assert.deepEqual(
    selfTimes(profile, ({ functionName }) => functionName),
    [
      { place: 'work', seconds: 3 },
      { place: 'rest', seconds: 0.5 },
    ],
  )
  assert.deepEqual(
    selfTimes(profile, ({ functionName }) => functionName, 9.5e6),
    [
      { place: 'work', seconds: 2 },
      { place: 'rest', seconds: 0.5 },
    ],
  )
})
