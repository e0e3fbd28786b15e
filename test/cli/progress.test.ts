import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatBytes, formatMs, formatTable, printable } from '../../src/cli/format.ts'
import { createProgress, renderBar } from '../../src/cli/progress.ts'

const MIB = 1 << 20

test('a bar shows how much of what is done, and how fast, and fits the terminal', () => {
  const bar = { label: 'layer', doneBytes: 5 * MIB, totalBytes: 10 * MIB, bytesPerSecond: MIB }
  const line = renderBar(bar, 120)
  assert.match(line, /^layer +━{20}─{20} +50 % +5\.0 MiB \/ 10\.0 MiB +1\.0 MiB\/s$/)
  for (const columns of [1, 20, 40, 80, 200]) assert.ok(renderBar(bar, columns).length < Math.max(2, columns))
  assert.match(renderBar({ ...bar, totalBytes: undefined }, 120), /─{40} +\? +5\.0 MiB/)
  assert.match(renderBar({ ...bar, totalBytes: 0, doneBytes: 0, note: 'done' }, 120), /100 % .* done$/)
})

test('bars are drawn on a terminal, for what takes longer than a moment, and nowhere else', () => {
  const run = (isTTY: boolean, ms: number): string => {
    let text = ''
    let now = 0
    const stream = { isTTY, columns: 100, write: (part: string) => (text += part) }
    const progress = createProgress({ stream, now: () => now })
    const bar = progress.bar('file')
    now = ms
    bar.update(1, 2)
    bar.end()
    progress.close()
    return text
  }
  assert.match(run(true, 2_000), /file .* 50 % .*done\n$/)
  assert.equal(run(true, 500), '')
  assert.equal(run(false, 2_000), '')
})

test('sizes, times and tables read well', () => {
  assert.deepEqual([0, 1023, 1536, 300_000, 5 * MIB, 3 * 2 ** 40].map(formatBytes), [
    '0 B',
    '1023 B',
    '1.5 KiB',
    '293 KiB',
    '5.0 MiB',
    '3.0 TiB',
  ])
  assert.deepEqual([5, 1_500, 61_500].map(formatMs), ['5 ms', '1.5 s', '1m 02s'])
  assert.equal(
    formatTable(
      ['NAME', 'SIZE'],
      [
        ['a', '1 B'],
        ['bcdef', '10 KiB'],
      ],
    ),
    'NAME     SIZE\na         1 B\nbcdef  10 KiB\n',
  )
})

test('what a peer wrote can not command the terminal', () => {
  assert.equal(printable('a\x1b[2Jb\nc'), 'a?[2Jb?c')
})
