import fc from 'fast-check'
import { base58btc } from 'multiformats/bases/base58'
import type { ZoneMessage } from '../../protocols/beacon/codec.ts'
import { Bitfield } from '../../protocols/bitfield.ts'
import type { Claim } from '../../protocols/claim/codec.ts'
import { digestFromBytes } from '../../protocols/digest.ts'
import type { Evidence } from '../../protocols/evidence/codec.ts'
import type { PieceHead, PieceRequest } from '../../protocols/piece/codec.ts'
import { geometryOf, MAX_BLOB_BYTES, MAX_PIECE_BYTES, MAX_PIECES, PIECE_SIZES } from '../../protocols/pieces.ts'
import type { SwarmMessage } from '../../protocols/swarm/codec.ts'
import type { TagAnswer, TagQuestion } from '../../protocols/tag/codec.ts'

/** Every value that a codec can be given, for property tests. */

const u8 = fc.integer({ min: 0, max: 0xff })
const u32 = fc.integer({ min: 0, max: 0xffff_ffff })
const u64 = fc.maxSafeNat()
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })
const index = fc.integer({ min: 0, max: MAX_PIECES - 1 })

export const digest = fc.oneof(
  bytes(32).map((b) => digestFromBytes('sha256', b)),
  bytes(64).map((b) => digestFromBytes('sha512', b)),
)

/** Blob sizes, with what is next to each border of the table as likely as the rest. */
export const size = fc.oneof(
  fc.integer({ min: 0, max: 4 * 1024 * 1024 }),
  fc.integer({ min: 0, max: MAX_BLOB_BYTES }),
  fc
    .constantFrom(0, 1, ...PIECE_SIZES.flatMap(({ upTo, pieceBytes }) => [pieceBytes, pieceBytes + 1, upTo - 1, upTo, upTo + 1]))
    .filter((n) => n <= MAX_BLOB_BYTES),
)

export const mediaType = fc.constantFrom(
  'a/b',
  'application/octet-stream',
  'application/vnd.oci.image.manifest.v1+json',
  'text/plain; charset=utf-8',
  `a/${'b'.repeat(127)}; c="${'d'.repeat(60)}"`,
)

export const pieceRequest: fc.Arbitrary<PieceRequest> = fc.oneof(
  fc.record({
    type: fc.constant('request' as const),
    id: u32,
    digest,
    index,
    maxBytes: fc.integer({ min: 0, max: MAX_PIECE_BYTES }),
    wantsClaim: fc.boolean(),
  }),
  fc.record({ type: fc.constant('cancel' as const), id: u32 }),
)

const author = fc
  .oneof(
    bytes(36).map((b) => Uint8Array.of(0x00, 36, ...b)),
    bytes(32).map((b) => Uint8Array.of(0x12, 32, ...b)),
  )
  .map((b) => base58btc.baseEncode(b))

export const claim: fc.Arbitrary<Claim> = fc
  .record({
    kind: fc.constantFrom('complete' as const, 'import' as const),
    digest,
    size,
    at: fc.double({ min: 0, max: 1, noNaN: true }),
    drawn: fc.array(bytes(32), { minLength: 1, maxLength: 8 }),
    author,
    signature: bytes(64),
  })
  .map(({ at, drawn, ...rest }) => {
    const { pieces } = geometryOf(rest.size)
    const first = Math.min(Math.max(0, pieces - 1), Math.floor(at * pieces))
    return { ...rest, first, hashes: drawn.slice(0, pieces - first) }
  })

export const pieceHead: fc.Arbitrary<PieceHead> = fc
  .record({
    id: u32,
    status: fc.constantFrom('ok' as const, 'lacks' as const, 'busy' as const, 'refused' as const, 'too-large' as const),
    size,
    part: fc.double({ min: 0, max: 1, noNaN: true }),
    load: u8,
    mediaType: fc.option(mediaType, { nil: undefined }),
    claim: fc.option(claim, { nil: undefined }),
  })
  .map(({ part, ...drawn }) => {
    const head = { type: 'head' as const, ...drawn, size: drawn.claim?.size ?? drawn.size }
    if (head.status === 'ok') {
      const most = Math.min(head.size, geometryOf(head.size).pieceBytes)
      return { ...head, length: most === 0 ? 0 : Math.max(1, Math.floor(part * most)) }
    }
    const told = head.status === 'too-large' ? Math.max(1, head.size) : 0
    return { ...head, size: told, length: 0, mediaType: undefined, claim: undefined }
  })

/** One claim of a holder, or two that differ in a hash or in the size. */
const ONE_AUTHOR = '12D3KooWA4Xop1JaT3MHxwYMkCepYsv4iPVopMXwCz5iHYdBfeSB'
/** Of the key whose seed is 32 times 0x07. */
const OTHER_AUTHOR = '12D3KooWRawPbxPtP1eZaJpumGnyWX2DcUyd3RQnydr3eAto4Az7'

export const evidence: fc.Arbitrary<Evidence> = fc
  .record({ a: claim, signature: bytes(64), how: fc.constantFrom('one', 'hash', 'size', 'contest') })
  .map(({ a, signature, how }): Evidence => {
    const first: Claim = { ...a, kind: 'complete' }
    const [hash, ...rest] = a.hashes
    if (how === 'one') return { claims: [first] }
    if (how === 'contest' && hash !== undefined) {
      const author = a.author === OTHER_AUTHOR ? ONE_AUTHOR : OTHER_AUTHOR
      const other = { ...a, kind: 'import' as const, author, hashes: [hash.map((byte) => byte ^ 1), ...rest], signature }
      return { claims: [{ ...a, kind: 'import' }, other] }
    }
    if (how === 'size' || hash === undefined) {
      const size = a.size === 0 ? 1 : a.size - 1
      const { pieces } = geometryOf(size)
      const at = Math.min(a.first, Math.max(0, pieces - 1))
      const hashes = pieces === 0 ? [] : [hash ?? new Uint8Array(32)]
      return { claims: [first, { ...first, size, first: at, hashes, signature }] }
    }
    return { claims: [first, { ...first, hashes: [hash.map((byte) => byte ^ 1), ...rest], signature }] }
  })

const bitfield = (pieces: number) =>
  fc.array(fc.integer({ min: 0, max: Math.max(0, pieces - 1) }), { maxLength: 32 }).map((held) => {
    const field = new Bitfield(pieces)
    for (const i of held) if (i < pieces) field.add(i)
    return field
  })

const state = fc.oneof(
  fc.record({ holding: fc.constant('none' as const), size: fc.constant(0), have: fc.constant(undefined) }),
  fc.record({ holding: fc.constant('complete' as const), size, have: fc.constant(undefined) }),
  size.chain((n) =>
    fc.record({ holding: fc.constant('partial' as const), size: fc.constant(n), have: bitfield(geometryOf(n).pieces) }),
  ),
)

export const swarmMessage: fc.Arbitrary<SwarmMessage> = fc.oneof(
  fc.record({ type: fc.constantFrom('want' as const, 'unwant' as const), digest }),
  fc.record({ state, digest, load: u8 }).map(({ state: s, ...rest }) => ({ type: 'state' as const, ...rest, ...s })),
  fc.record({ type: fc.constant('have' as const), digest, indices: fc.array(index, { minLength: 1, maxLength: 300 }), load: u8 }),
  fc.record({ type: fc.constant('get-claims' as const), digest, first: index, count: fc.integer({ min: 1, max: 1024 }) }),
  fc.record({ digest, claims: fc.array(claim, { maxLength: 4 }), more: fc.boolean() }).map(({ claims, ...rest }) => ({
    type: 'claims' as const,
    ...rest,
    claims: claims.map((c) => ({ ...c, digest: rest.digest })),
  })),
  fc.record({ type: fc.constant('bad-piece' as const), digest, index }),
)

const zonePart = fc.stringMatching(/^[a-z0-9]([a-z0-9._-]{0,20}[a-z0-9])?$/)
export const zoneLabel = fc.record({ region: zonePart, zone: zonePart, rack: fc.option(zonePart, { nil: undefined }) })
const address = fc.oneof(
  fc.ipV4().map((ip) => `/ip4/${ip}/tcp/7402`),
  fc.ipV6().map((ip) => `/ip6/${ip}/tcp/7402`),
  fc.constant(`/dns4/${'a'.repeat(246)}/tcp`),
)
const addresses = fc.array(address, { maxLength: 16 })

export const zoneMessage: fc.Arbitrary<ZoneMessage> = fc.oneof(
  fc.record({
    type: fc.constant('beacon' as const),
    label: zoneLabel,
    addresses,
    roles: fc.array(fc.stringMatching(/^[a-z][a-z0-9-]{0,31}$/), { maxLength: 8 }),
    load: u8,
    version: fc.stringMatching(/^[ -~]{0,64}$/),
    startedAt: u64,
    sequence: u32,
  }),
  fc.record({
    type: fc.constant('news' as const),
    addresses,
    added: fc.array(digest, { maxLength: 128 }),
    removed: fc.array(digest, { maxLength: 128 }),
  }),
  fc.record({
    type: fc.constant('pause' as const),
    origin: fc.constantFrom('docker.io', 'localhost', '127.0.0.1:5000', '[::1]:5000', `${'a'.repeat(255)}`),
    who: fc.constantFrom('everybody' as const, 'nobody' as const, 'operator' as const),
    retryAfterMs: fc.integer({ min: 1, max: 60_000 }),
  }),
)

export const tagQuestion: fc.Arbitrary<TagQuestion> = fc.record({
  registry: fc.constantFrom('docker.io', 'localhost', '127.0.0.1:5000', '[::1]:5000', `${'a'.repeat(255)}`),
  repository: fc.constantFrom('library/nginx', 'a', 'a/b-c/d__e.f', 'r'.repeat(255)),
  tag: fc.stringMatching(/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/),
  maxAgeMs: u32,
})

export const tagAnswer: fc.Arbitrary<TagAnswer> = fc.oneof(
  fc.constantFrom({ known: false as const }, { known: 'soon' as const }),
  fc.record({ known: fc.constant(true as const), digest, mediaType, size, ageMs: u64 }),
)
