import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { CID } from 'multiformats/cid'
import { Bitfield } from '../../protocols/bitfield.ts'
import { cidOf, digestFromBytes, digestOf, parseDigest } from '../../protocols/digest.ts'
import { isMediaType } from '../../protocols/media-type.ts'
import {
  geometryOf,
  MAX_BLOB_BYTES,
  MAX_PIECE_BYTES,
  MAX_PIECES,
  MIN_PIECE_BYTES,
  PIECE_SIZES,
  pieceLength,
  pieceOffset,
  piecesOf,
} from '../../protocols/pieces.ts'
import { formatZone, parseZone, zoneName } from '../../protocols/zone.ts'
import * as any from './arbitraries.ts'

test('a digest is the same value from its text, its bytes and its content', () => {
  fc.assert(
    fc.property(fc.uint8Array(), fc.constantFrom('sha256' as const, 'sha512' as const), (content, algorithm) => {
      const digest = digestOf(content, algorithm)
      assert.equal(digest.hex, createHash(algorithm).update(content).digest('hex'))
      assert.ok(digest.equals(parseDigest(digest.toString())))
      assert.ok(digest.equals(digestFromBytes(algorithm, digest.bytes)))
      assert.equal(JSON.stringify({ digest }), `{"digest":"${digest}"}`)
    }),
  )
})

test('what is almost a digest is refused', () => {
  const hex = 'ab'.repeat(32)
  for (const text of [
    '',
    hex,
    `sha256:${hex.slice(1)}`,
    `sha256:${hex}0`,
    `sha256:${hex.toUpperCase()}`,
    `sha256:${hex}\n`,
    `sha512:${hex}`,
    `md5:${hex}`,
  ]) {
    assert.throws(() => parseDigest(text), { code: 'DIGEST_INVALID' })
  }
  assert.throws(() => parseDigest(undefined as never), { code: 'DIGEST_INVALID' })
  assert.throws(() => digestFromBytes('sha512', new Uint8Array(32)), { code: 'DIGEST_INVALID' })
})

test("a blob's DHT key is the CID that other tools compute for it", () => {
  const cid = cidOf(digestOf(Buffer.from('hello')))
  assert.equal(cid.toString(), 'bafkreibm6jg3ux5qumhcn2b3flc3tyu6dmlb4xa7u5bf44yegnrjhc4yeq')
  assert.equal(cid.version, 1)
  assert.ok(CID.parse(cid.toString()).equals(cid))
})

test('the pieces of a blob cover it, each byte once', () => {
  fc.assert(
    fc.property(any.size, fc.double({ min: 0, max: 1, noNaN: true }), (size, at) => {
      const geometry = geometryOf(size)
      assert.ok(geometry.pieces <= MAX_PIECES)
      assert.ok(geometry.pieceBytes <= MAX_PIECE_BYTES && geometry.pieceBytes >= MIN_PIECE_BYTES)
      if (size === 0) {
        assert.equal(geometry.pieces, 0)
        return
      }
      const index = Math.min(geometry.pieces - 1, Math.floor(at * geometry.pieces))
      const [start, length] = [pieceOffset(geometry, index), pieceLength(geometry, index)]
      assert.ok(length >= 1 && length <= geometry.pieceBytes)
      assert.equal(start + length, index === geometry.pieces - 1 ? size : pieceOffset(geometry, index + 1))
      assert.deepEqual(piecesOf(geometry, start, start + length), { first: index, last: index })
    }),
  )
})

test('a byte range touches the pieces that its first and last byte are in', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 2 ** 30 }), fc.nat(), fc.nat(), (size, a, b) => {
      const geometry = geometryOf(size)
      const [start, end] = [Math.min(a % size, b % size), Math.max(a % size, b % size) + 1]
      const touched = piecesOf(geometry, start, end)
      assert.ok(touched !== undefined)
      assert.ok(pieceOffset(geometry, touched.first) <= start)
      assert.ok(pieceOffset(geometry, touched.first) + pieceLength(geometry, touched.first) > start)
      assert.ok(pieceOffset(geometry, touched.last) + pieceLength(geometry, touched.last) >= end)
      assert.ok(pieceOffset(geometry, touched.last) < end)
      assert.equal(piecesOf(geometry, start, start), undefined)
    }),
  )
})

test('the table of piece sizes ascends and ends at the largest blob', () => {
  for (const [i, row] of PIECE_SIZES.entries()) {
    const before = PIECE_SIZES[i - 1]
    assert.ok(before === undefined || (row.upTo > before.upTo && row.pieceBytes > before.pieceBytes))
    assert.equal(geometryOf(row.upTo).pieceBytes, row.pieceBytes)
  }
  assert.equal(PIECE_SIZES.at(-1)?.upTo, MAX_BLOB_BYTES)
  assert.equal(PIECE_SIZES.at(-1)?.pieceBytes, MAX_PIECE_BYTES)
  assert.equal(PIECE_SIZES[0]?.pieceBytes, MIN_PIECE_BYTES)
})

test('the table of piece sizes is the one that the documentation shows', () => {
  const units: Record<string, number> = { KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 }
  const readme = readFileSync(resolve(import.meta.dirname, '../../protocols/README.md'), 'utf8')
  const rows = [...readme.matchAll(/^\| (\d+) ([KMGT]iB) +\| (\d+) ([KMGT]iB) +\|$/gm)].map(([, a, x, b, y]) => ({
    upTo: Number(a) * (units[x as string] as number),
    pieceBytes: Number(b) * (units[y as string] as number),
  }))
  assert.deepEqual(rows, PIECE_SIZES)
})

test('sizes and indices that no blob has are refused', () => {
  for (const size of [-1, 0.5, Number.NaN, 2 ** 53]) assert.throws(() => geometryOf(size), { code: 'REQUEST_INVALID' })
  assert.throws(() => geometryOf(MAX_BLOB_BYTES + 1), { code: 'BLOB_TOO_LARGE' })
  for (const index of [-1, 1, 0.5]) assert.throws(() => pieceLength(geometryOf(5), index), RangeError)
})

test('a bitfield holds what was added and not deleted, like a set', () => {
  const steps = fc.array(fc.record({ index: fc.nat(99), add: fc.boolean() }), { maxLength: 200 })
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100 }), steps, (length, all) => {
      const field = new Bitfield(length)
      const set = new Set<number>()
      for (const { index, add } of all.filter((step) => step.index < length)) {
        assert.equal(add ? field.add(index) : field.delete(index), add ? !set.has(index) : set.has(index))
        if (add) set.add(index)
        else set.delete(index)
      }
      assert.equal(field.count, set.size)
      assert.equal(field.complete, set.size === length)
      for (let i = -1; i <= length; i++) assert.equal(field.has(i), set.has(i))
      for (let from = 0; from <= length; from++) {
        const missing = Array.from({ length }, (_, i) => i).find((i) => i >= from && !set.has(i))
        assert.equal(field.firstMissing(from), missing)
      }
      const copy = Bitfield.from(field.toBytes(), length)
      assert.deepEqual([copy.toBytes(), copy.count], [field.toBytes(), field.count])
      assert.deepEqual(field.clone().toBytes(), field.toBytes())
    }),
  )
})

test('two bitfields are joined and intersected like sets, and count what is left', () => {
  const indices = fc.uniqueArray(fc.nat(99))
  fc.assert(
    fc.property(indices, indices, (ours, theirs) => {
      const of = (held: readonly number[]) => {
        const field = new Bitfield(100)
        for (const index of held) field.add(index)
        return field
      }
      const [both, either] = [of(ours), of(ours)]
      both.keepAll(of(theirs))
      either.addAll(of(theirs))
      const common = ours.filter((index) => theirs.includes(index))
      const all = [...new Set([...ours, ...theirs])]
      assert.deepEqual([both.toBytes(), both.count], [of(common).toBytes(), common.length])
      assert.deepEqual([either.toBytes(), either.count], [of(all).toBytes(), all.length])
    }),
  )
  assert.throws(() => new Bitfield(8).keepAll(new Bitfield(9)), RangeError)
})

test('a bitfield of the wrong length or with a spare bit set is refused', () => {
  assert.throws(() => Bitfield.from(new Uint8Array(1), 9), { code: 'MESSAGE_MALFORMED' })
  assert.throws(() => Bitfield.from(new Uint8Array(3), 9), { code: 'MESSAGE_MALFORMED' })
  assert.throws(() => Bitfield.from(Uint8Array.of(0, 0x40), 9), { code: 'MESSAGE_MALFORMED' })
  assert.throws(() => new Bitfield(8).add(8), RangeError)
  assert.equal(Bitfield.full(9).complete, true)
  assert.deepEqual([...Bitfield.full(9).toBytes()], [0xff, 0x80])
})

test('a zone label is the same value from its text', () => {
  fc.assert(
    fc.property(any.zoneLabel, (label) => {
      assert.deepEqual(parseZone(formatZone(label)), { ...label })
      assert.equal(zoneName(label), `${label.region}/${label.zone}`)
    }),
  )
})

test('what is not a zone label is refused', () => {
  for (const text of ['', 'a', 'a/', '/a', 'a/b/c/d', 'A/b', 'a/b ', 'a/-b', 'a/b-', 'a//b', `a/${'b'.repeat(64)}`, 'a/b\n']) {
    assert.throws(() => parseZone(text), { code: 'ZONE_INVALID' })
  }
})

test('media types are told from what would break a header', () => {
  fc.assert(fc.property(any.mediaType, (text) => isMediaType(text)))
  for (const text of [
    '',
    'a',
    'a/',
    '/b',
    'a b/c',
    'a/b\n',
    'a/b;',
    'a/b; c',
    'a/b; c="',
    `${'a'.repeat(128)}/b`,
    'ä/b',
    `a/b${'; c=d'.repeat(60)}`,
  ]) {
    assert.equal(isMediaType(text), false, text)
  }
})

test('a media type meant to make the check slow is checked at once', () => {
  const started = process.cpuUsage().user
  for (let i = 0; i < 1000; i++) isMediaType(`a/b${';a=""'.repeat(49)};`)
  assert.ok(process.cpuUsage().user - started < 1_000_000)
})
