import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseZone } from '../../protocols/zone.ts'
import { rank } from '../../src/rank/rank.ts'

const self = parseZone('eu/a/r1')
const peer = (zone: string | undefined, bytesPerSecond?: number, load = 0) => ({
  label: zone === undefined ? undefined : parseZone(zone),
  bytesPerSecond,
  load,
})

test('near peers come first: rack, zone, region, elsewhere', () => {
  const [rack, zone, region, far, unknown] = [peer('eu/a/r1'), peer('eu/a/r2'), peer('eu/b/r1'), peer('us/a/r1'), peer(undefined)]
  assert.deepEqual(rank([unknown, far, region, zone, rack], self), [rack, zone, region, unknown, far])
})

test('among equally near ones the fast come first, then the idle', () => {
  const [slow, fast, idle] = [peer('eu/a', 10), peer('eu/a', 100, 9), peer('eu/a', 100, 1)]
  assert.deepEqual(rank([slow, fast, idle], self), [idle, fast, slow])
})
