import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { encodeZoneMessage } from '../../protocols/beacon/codec.ts'
import { MAX_ZONE_MESSAGE_BYTES } from '../../protocols/beacon/limits.ts'
import { Bitfield } from '../../protocols/bitfield.ts'
import { type Claim, encodeClaim, pageClaims } from '../../protocols/claim/codec.ts'
import { MAX_CLAIM_HASHES, MAX_PAGE_CLAIMS } from '../../protocols/claim/limits.ts'
import { digestOf } from '../../protocols/digest.ts'
import { encodePieceData, encodePieceHead } from '../../protocols/piece/codec.ts'
import { DATA_HEADER_BYTES, MAX_DATA_BYTES, MAX_HEAD_CLAIM_BYTES } from '../../protocols/piece/limits.ts'
import { MAX_BLOB_BYTES, MAX_PIECES } from '../../protocols/pieces.ts'
import { decodeSwarmMessage, encodeSwarmMessage } from '../../protocols/swarm/codec.ts'
import { MAX_HAVE_INDICES, MAX_SWARM_MESSAGE_BYTES } from '../../protocols/swarm/limits.ts'
import * as any from './arbitraries.ts'
import { CODECS, decodeAnswers } from './codecs.ts'
import { plain } from './plain.ts'

const digest = digestOf(Buffer.from('x'), 'sha512')

for (const [name, codec] of Object.entries(CODECS)) {
  test(`what is encoded as a ${name} is decoded to the same`, () => {
    fc.assert(
      fc.property(codec.arbitrary, (value) => {
        const bytes = codec.encode(value)
        const decoded = codec.decode(bytes)
        assert.deepEqual(plain(decoded), plain(value))
        assert.deepEqual(codec.encode(decoded), bytes)
      }),
    )
  })
}

test('the longest of everything fits the limit of its message', () => {
  const hashes = Array.from({ length: MAX_CLAIM_HASHES }, () => new Uint8Array(32))
  const claim: Claim = { ...aClaim(), digest, size: MAX_BLOB_BYTES, hashes }
  assert.ok(pageClaims([claim]).every((claims) => encodeSwarmMessage({ type: 'claims', digest, claims, more: true })))
  const indices = Array.from({ length: MAX_HAVE_INDICES }, () => MAX_PIECES - 1)
  assert.ok(encodeSwarmMessage({ type: 'have', digest, indices, load: 0 }).length <= MAX_SWARM_MESSAGE_BYTES)
  const have = Bitfield.full(MAX_PIECES)
  const state = encodeSwarmMessage({ type: 'state', digest, holding: 'partial', size: MAX_BLOB_BYTES, have, load: 0 })
  assert.ok(state.length <= MAX_SWARM_MESSAGE_BYTES)
  const addresses = Array.from({ length: 16 }, () => `/${'a'.repeat(255)}`)
  const news = encodeZoneMessage({ type: 'news', addresses, added: Array.from({ length: 256 }, () => digest), removed: [] })
  assert.ok(news.length <= MAX_ZONE_MESSAGE_BYTES)
})

test('claims are paged so that each page is one message, in order and none lost', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 1, max: MAX_CLAIM_HASHES }), { maxLength: 12 }), (counts) => {
      const claims = counts.map((count) => ({
        ...aClaim(),
        size: MAX_BLOB_BYTES,
        hashes: Array.from({ length: count }, () => new Uint8Array(32)),
      }))
      const pages = pageClaims(claims)
      assert.deepEqual(pages.flat(), claims)
      for (const page of pages) {
        const bytes = encodeSwarmMessage({ type: 'claims', digest: claims[0]?.digest as never, claims: page, more: false })
        assert.ok(bytes.length <= MAX_SWARM_MESSAGE_BYTES)
        assert.equal(decodeSwarmMessage(bytes).type, 'claims')
      }
    }),
    { numRuns: 30 },
  )
})

test('a page has no more claims than a reader takes', () => {
  const claims = Array.from({ length: MAX_PAGE_CLAIMS + 1 }, aClaim)
  assert.deepEqual(
    pageClaims(claims).map((page) => page.length),
    [MAX_PAGE_CLAIMS, 1],
  )
  assert.deepEqual(pageClaims([]), [])
})

test('a decoded claim does not keep the message alive that it came in', () => {
  const claim = aClaim()
  const message = new Uint8Array(MAX_SWARM_MESSAGE_BYTES)
  const bytes = encodeSwarmMessage({ type: 'claims', digest: claim.digest, claims: [claim], more: false })
  message.set(bytes)
  const decoded = decodeSwarmMessage(message.subarray(0, bytes.length))
  assert.ok(decoded.type === 'claims')
  for (const part of decoded.claims.flatMap((c) => [...c.hashes, c.signature])) {
    assert.notEqual(part.buffer, message.buffer)
    assert.ok(part.buffer.byteLength < 200)
  }
})

test('a full data frame with its header fills one write and no more', () => {
  assert.equal(encodePieceData(1, MAX_DATA_BYTES).length, DATA_HEADER_BYTES)
  assert.equal(MAX_DATA_BYTES + DATA_HEADER_BYTES, 262_064)
  assert.throws(() => encodePieceData(1, MAX_DATA_BYTES + 1), TypeError)
  assert.throws(() => encodePieceData(1, 0), TypeError)
})

test('a media type that can not be sent is left out of a head, not sent wrong', () => {
  for (const mediaType of ['', 'nonsense', 'a/b\r\nx: y', `a/${'b'.repeat(300)}`]) {
    const head = { type: 'head', id: 1, status: 'ok', size: 5, length: 5, load: 0, mediaType, claim: undefined } as const
    assert.deepEqual(decodeAnswers(encodePieceHead(head)), [{ ...head, mediaType: undefined, claim: undefined }])
  }
})

test('a claim that is too long for a head is left out of it, and the longest that is not fits', () => {
  const size = 200 * 256 * 1024
  const about = (count: number) => ({
    ...aClaim(),
    digest,
    size,
    hashes: Array.from({ length: count }, () => new Uint8Array(32)),
  })
  const counts = [1, 119, 120, 121, 122, 123, 200].filter((count) => {
    const claim = about(count)
    const head = {
      type: 'head',
      id: 1,
      status: 'ok',
      size,
      length: 5,
      load: 0,
      mediaType: `a/${'b'.repeat(253)}`,
      claim,
    } as const
    const [heard] = decodeAnswers(encodePieceHead(head))
    assert.ok(heard?.type === 'head')
    assert.equal(heard.claim === undefined, encodeClaim(claim).length > MAX_HEAD_CLAIM_BYTES)
    return heard.claim !== undefined
  })
  assert.ok(counts.includes(120) && !counts.includes(200))
})

test('what no message can say is refused by the encoders as the mistake of their caller', () => {
  const claim = aClaim()
  const wrong: (() => unknown)[] = [
    () => encodeClaim({ ...claim, author: 'not base58: 0' }),
    () => encodeClaim({ ...claim, author: 'abc' }),
    () => encodeClaim({ ...claim, signature: new Uint8Array(63) }),
    () => encodeClaim({ ...claim, first: 1 }),
    () => encodeClaim({ ...claim, hashes: [new Uint8Array(31)] }),
    () => encodeSwarmMessage({ type: 'claims', digest, claims: [claim], more: false }),
    () => encodeSwarmMessage({ type: 'have', digest, indices: [], load: 0 }),
    () => encodeSwarmMessage({ type: 'have', digest, indices: [MAX_PIECES], load: 0 }),
    () => encodeSwarmMessage({ type: 'have', digest, indices: [1], load: 256 }),
    () => encodeSwarmMessage({ type: 'state', digest, holding: 'partial', size: 5, have: undefined, load: 0 }),
    () => encodeSwarmMessage({ type: 'state', digest, holding: 'partial', size: 5, have: new Bitfield(2), load: 0 }),
    () => encodeSwarmMessage({ type: 'state', digest, holding: 'none', size: 5, have: undefined, load: 0 }),
    () =>
      encodePieceHead({
        type: 'head',
        id: 1,
        status: 'lacks',
        size: 5,
        length: 0,
        load: 0,
        mediaType: undefined,
        claim: undefined,
      }),
    () =>
      encodePieceHead({
        type: 'head',
        id: -1,
        status: 'lacks',
        size: 0,
        length: 0,
        load: 0,
        mediaType: undefined,
        claim: undefined,
      }),
  ]
  for (const encode of wrong) assert.throws(encode, TypeError, encode.toString())
})

function aClaim(): Claim {
  const [claim] = fc.sample(any.claim, { numRuns: 1, seed: 1 }) as [Claim]
  return { ...claim, size: 5, first: 0, hashes: [new Uint8Array(32)] }
}
