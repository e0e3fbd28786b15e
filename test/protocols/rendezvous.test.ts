import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import { digestOf, parseDigest } from '../../protocols/digest.ts'
import { ShoalError } from '../../protocols/error.ts'
import { geometryOf, MAX_PIECES } from '../../protocols/pieces.ts'
import {
  decodeRendezvousMessage as decode,
  encodeRendezvousMessage as encode,
  isMemberMessage,
  type RendezvousMessage,
} from '../../protocols/rendezvous/codec.ts'
import * as limits from '../../protocols/rendezvous/limits.ts'
import { deskOf } from '../../src/rendezvous/desks.ts'
import { rendezvousOrder } from '../../src/rendezvous/order.ts'
import { digest, size } from './arbitraries.ts'
import { hexOf, plain } from './plain.ts'

interface Vectors {
  readonly valid: readonly { readonly name: string; readonly hex: string; readonly value: unknown }[]
  readonly invalid: readonly { readonly name: string; readonly hex: string; readonly error: string }[]
  readonly orders: readonly { readonly digest: string; readonly desk?: number; readonly peers: readonly string[] }[]
  readonly desks: readonly { readonly digest: string; readonly peer: string; readonly desks: number; readonly desk: number }[]
}

const FOLDER = resolve(import.meta.dirname, '../../protocols/rendezvous')
const { valid, invalid, orders, desks }: Vectors = JSON.parse(readFileSync(`${FOLDER}/vectors.json`, 'utf8'))
const spec = readFileSync(`${FOLDER}/SPEC.md`, 'utf8')

const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const ms = fc.integer({ min: 0, max: limits.MAX_WAIT_MS })
const addresses = fc.array(
  fc.ipV4().map((ip) => `/ip4/${ip}/tcp/7402`),
  { maxLength: limits.MAX_PEER_ADDRESSES },
)
const peer = fc.record({ id: fc.stringMatching(/^[1-9A-HJ-NP-Za-km-z]{1,64}$/), addresses })
const lease = { digest, lease: u32 }

/** A size, and a range of its pieces. */
const pieces = size
  .filter((bytes) => bytes > 0)
  .chain((bytes) => {
    const count = geometryOf(bytes).pieces
    const range = fc
      .tuple(fc.nat(count - 1), fc.nat(count - 1))
      .map(([a, b]) => ({ first: Math.min(a, b), count: Math.abs(a - b) + 1 }))
    return fc.record({ size: fc.constant(bytes), ranges: fc.array(range, { minLength: 1, maxLength: limits.MAX_RANGES }) })
  })
const granted = fc.oneof(
  fc.constant({ size: 0, first: 0, count: 0 }),
  pieces.map(({ size: bytes, ranges }) => ({ size: bytes, ...(ranges[0] as { first: number; count: number }) })),
)

const message: fc.Arbitrary<RendezvousMessage> = fc.oneof(
  fc.record({
    type: fc.constant('register' as const),
    digest,
    size,
    desk: fc.nat(limits.MAX_DESKS - 1),
    insist: fc.boolean(),
    addresses,
  }),
  fc.record({ type: fc.constant('unregister' as const), digest, complete: fc.boolean() }),
  fc
    .record({ digest, request: u32, asked: fc.oneof(pieces, fc.constant({ size: 0, ranges: [] })) })
    .map(({ asked, ...rest }) => ({ type: 'ask' as const, ...rest, ...asked })),
  fc.record({ digest, request: u32, granted }).map(({ granted: g, ...rest }) => ({ type: 'hold' as const, ...rest, ...g })),
  fc.record({ type: fc.constant('opened' as const), ...lease, size, streams: fc.boolean() }),
  fc.record({ type: fc.constant('alive' as const), ...lease }),
  fc.record({ type: fc.constant('progress' as const), ...lease, index: fc.nat(MAX_PIECES - 1) }),
  fc.record({ type: fc.constant('end' as const), ...lease, done: fc.boolean(), retryAfterMs: ms }),
  fc.record({
    type: fc.constant('members' as const),
    digest,
    size,
    active: fc.boolean(),
    peers: fc.array(peer, { maxLength: limits.MAX_MEMBERS }),
  }),
  fc.record({ ...lease, request: u32, granted }).map(({ granted: g, ...rest }) => ({ type: 'grant' as const, ...rest, ...g })),
  fc.record({ type: fc.constant('wait' as const), digest, request: u32, retryMs: ms }),
  fc.record({ type: fc.constant('redirect' as const), digest, peer }),
)

function tryToDecode(bytes: Uint8Array): RendezvousMessage | undefined {
  try {
    return decode(bytes)
  } catch (error) {
    assert.ok(error instanceof ShoalError, String(error))
    assert.ok(['MESSAGE_MALFORMED', 'MESSAGE_TOO_LARGE'].includes(error.code), error.code)
    return undefined
  }
}

for (const { name, hex, value } of valid) {
  test(`rendezvous vector: ${name}`, () => {
    const decoded = decode(Buffer.from(hex, 'hex'))
    assert.deepEqual(plain(decoded), value)
    assert.equal(hexOf(encode(decoded)), hex)
  })
}

for (const { name, hex, error } of invalid) {
  test(`rendezvous vector, refused: ${name}`, () => {
    assert.throws(() => decode(Buffer.from(hex, 'hex')), { code: error })
  })
}

test('each example in the rendezvous spec is a vector', () => {
  const examples = [...spec.matchAll(/```hex\n(.*?)```/gs)].map(([, block]) =>
    (block as string)
      .split('\n')
      .map((line) => /^[0-9a-f]*/.exec(line)?.[0] ?? '')
      .join(''),
  )
  assert.ok(examples.length >= 2)
  for (const example of examples)
    assert.ok(
      valid.some(({ hex }) => hex === example),
      `no vector has ${example}`,
    )
})

test('the rendezvous spec names every limit, with its value', () => {
  const rows = [...spec.matchAll(/^\| `([A-Z_]+)` +\| ([\d,]+) +\|/gm)]
  const told = Object.fromEntries(rows.map(([, name, value]) => [name, Number((value as string).replaceAll(',', ''))]))
  assert.deepEqual(told, Object.fromEntries(Object.entries(limits).filter(([, value]) => typeof value === 'number')))
})

test('another implementation orders peers as this one does', () => {
  assert.ok(orders.length > 0)
  for (const { digest: text, desk, peers } of orders)
    assert.deepEqual(rendezvousOrder(parseDigest(text), [...peers].reverse(), desk), peers)
})

test('another implementation turns to the desks that this one turns to', () => {
  assert.ok(desks.length > 0)
  for (const { digest: text, peer: id, desks: count, desk } of desks) assert.equal(deskOf(parseDigest(text), id, count), desk)
})

test('a rendezvous message comes back as it was sent', () => {
  fc.assert(
    fc.property(message, (sent) => {
      assert.deepEqual(plain(decode(encode(sent))), plain(sent))
    }),
    { numRuns: 500 },
  )
})

test('any bytes at all are decoded as a rendezvous message or refused with a code', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300, size: 'max' }), fc.integer({ min: 0, max: 13 }), (bytes, type) => {
      tryToDecode(bytes)
      tryToDecode(Uint8Array.of(type, 0x12, ...new Uint8Array(32), ...bytes))
    }),
    { numRuns: 500 },
  )
})

test('a rendezvous message that was tampered with says what it then says or is refused; one that is cut is refused', () => {
  const part = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
  fc.assert(
    fc.property(message, part, fc.nat(255), (sent, at, byte) => {
      const bytes = encode(sent).slice()
      const place = Math.floor(at * bytes.length)
      assert.equal(tryToDecode(bytes.subarray(0, place)), undefined)
      bytes[place] = byte
      const decoded = tryToDecode(bytes)
      if (decoded !== undefined) assert.deepEqual(encode(decoded), bytes)
    }),
    { numRuns: 500 },
  )
})

test('the longest messages fit their limits, and what is longer is refused', () => {
  const longest = digestOf(Buffer.from('x'), 'sha512')
  const far = { id: 'Q'.repeat(64), addresses: Array.from({ length: 4 }, () => `/${'a'.repeat(254)}`) }
  const peers = Array.from({ length: limits.MAX_MEMBERS }, () => far)
  assert.ok(
    encode({ type: 'members', digest: longest, size: 5, active: true, peers }).length <= limits.MAX_RENDEZVOUS_MESSAGE_BYTES,
  )
  const ranges = Array.from({ length: limits.MAX_RANGES }, () => ({ first: 0, count: 1 }))
  for (const one of [
    { type: 'ask', digest: longest, request: 1, size: 5, ranges },
    { type: 'register', digest: longest, size: 5, desk: 7, insist: true, addresses: far.addresses },
  ] as const)
    assert.ok(encode(one).length <= limits.MAX_MEMBER_MESSAGE_BYTES)
  const long = new Uint8Array(limits.MAX_MEMBER_MESSAGE_BYTES + 1)
  for (const type of [1, 8]) assert.throws(() => decode(long.fill(type, 0, 1)), { code: 'MESSAGE_TOO_LARGE' })
  assert.throws(() => decode(new Uint8Array(limits.MAX_RENDEZVOUS_MESSAGE_BYTES + 1).fill(9, 0, 1)), {
    code: 'MESSAGE_TOO_LARGE',
  })
})

test('what no rendezvous message can say is refused by the encoder as the mistake of its caller', () => {
  const about = digestOf(Buffer.from('x'))
  const wrong: (() => unknown)[] = [
    () => encode({ type: 'ask', digest: about, request: 1, size: 5, ranges: [{ first: 1, count: 1 }] }),
    () => encode({ type: 'grant', digest: about, request: 1, lease: 1, size: 0, first: 0, count: 1 }),
    () => encode({ type: 'hold', digest: about, request: 1, size: 5, first: 0, count: 0 }),
    () => encode({ type: 'progress', digest: about, lease: 1, index: MAX_PIECES }),
    () => encode({ type: 'end', digest: about, lease: 1, done: false, retryAfterMs: 30_001 }),
    () => encode({ type: 'wait', digest: about, request: 2 ** 32, retryMs: 0 }),
    () => encode({ type: 'redirect', digest: about, peer: { id: 'not base58: 0', addresses: [] } }),
    () => encode({ type: 'register', digest: about, size: 0, desk: 0, insist: false, addresses: ['nonsense'] }),
    () => encode({ type: 'register', digest: about, size: 0, desk: 8, insist: false, addresses: [] }),
  ]
  for (const one of wrong) assert.throws(one, TypeError, one.toString())
})

test('who may say what is known by the message', () => {
  const sides = valid.map(({ hex }) => decode(Buffer.from(hex, 'hex'))).map((one) => [one.type, isMemberMessage(one)] as const)
  const members = new Set(sides.filter(([, member]) => member).map(([type]) => type))
  assert.deepEqual([...members].sort(), ['alive', 'ask', 'end', 'hold', 'opened', 'progress', 'register', 'unregister'])
})
