import assert from 'node:assert/strict'
import { test } from 'node:test'
import { formatRate, parseOriginRate, parseOriginRequests, parseRate } from '../src/rates.ts'

test('rates are bytes or bits, in thousands or in powers of 1,024', () => {
  const rates = {
    '10000B/s': 10_000,
    '64KiB/s': 65_536,
    '100 MiB/s': 104_857_600,
    '1.5GB/s': 1.5e9,
    '50Mbit/s': 6_250_000,
    '10Gbit/s': 1.25e9,
    '800kbit/s': 100_000,
    '1TB/s': 1e12,
    off: undefined,
  }
  for (const [text, bytesPerSecond] of Object.entries(rates)) assert.equal(parseRate(text), bytesPerSecond, text)
})

test('a rate without its unit, with one that means two things, or out of all reason is refused', () => {
  for (const text of [
    '',
    '100',
    '100MiB',
    '5mb/s',
    '5Mb/s',
    '5mbit/s',
    '-1MB/s',
    '1e6B/s',
    'NaN',
    '0MB/s',
    '9kB/s',
    '2TB/s',
    'on',
  ])
    assert.throws(() => parseRate(text), { code: 'CONFIG_INVALID' }, text)
})

test('a rate is shown in the unit that suits it', () => {
  assert.deepEqual([undefined, 104_857_600, 6_250_000, 1.5 * 2 ** 30, 12_345].map(formatRate), [
    'off',
    '100MiB/s',
    '6MiB/s',
    '1.5GiB/s',
    '12.1KiB/s',
  ])
})

test('an origin is named by registry or host and port; without a name all others are meant', () => {
  assert.deepEqual(parseOriginRequests('12'), ['*', 12])
  assert.deepEqual(parseOriginRequests('[::1]:5000=1'), ['[::1]:5000', 1])
  assert.deepEqual(parseOriginRate('Reg.Example:443=1MB/s'), ['reg.example:443', 1e6])
  for (const text of ['0', '257', 'x', '=4', 'a b=4', 'docker.io=', 'docker.io=4.5'])
    assert.throws(() => parseOriginRequests(text), { code: 'CONFIG_INVALID' }, text)
})
