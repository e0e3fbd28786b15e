import { Bitfield } from '../bitfield.ts'
import { type Claim, readClaim, writeClaim } from '../claim/codec.ts'
import { MAX_PAGE_CLAIMS } from '../claim/limits.ts'
import type { Digest } from '../digest.ts'
import { ShoalError } from '../error.ts'
import { geometryOf, MAX_PIECES } from '../pieces.ts'
import { Reader } from '../reader.ts'
import { Writer } from '../writer.ts'
import { MAX_CLAIMS_PIECES, MAX_HAVE_INDICES, MAX_SWARM_MESSAGE_BYTES } from './limits.ts'

/**
 * `/shoal/swarm/1`, the control stream: one long-lived stream per neighbour and direction of opening, messages of at
 * most MAX_SWARM_MESSAGE_BYTES, each about one blob.
 */
export type SwarmMessage =
  /** Tell me what you hold of this blob now (a `state` answers at once), and keep me told until `unwant`. */
  | { readonly type: 'want'; readonly digest: Digest }
  | { readonly type: 'unwant'; readonly digest: Digest }
  /** What the sender holds. `have` is set for `partial` only; `size` is 0 for `none`. */
  | {
      readonly type: 'state'
      readonly digest: Digest
      readonly holding: 'none' | 'partial' | 'complete'
      readonly size: number
      readonly have: Bitfield | undefined
      /** 0 idle … 255. */
      readonly load: number
    }
  /** Pieces that the sender has come to hold since its last `state` or `have`. */
  | { readonly type: 'have'; readonly digest: Digest; readonly indices: readonly number[]; readonly load: number }
  /** Send me the claims that you have for these pieces. */
  | { readonly type: 'get-claims'; readonly digest: Digest; readonly first: number; readonly count: number }
  /** Answers `get-claims`: in one or several messages, the last with `more: false`. Also when it has none. */
  | { readonly type: 'claims'; readonly digest: Digest; readonly claims: readonly Claim[]; readonly more: boolean }
  /** The piece that you sent did not match: re-read it, and drop it if your disk lied. */
  | { readonly type: 'bad-piece'; readonly digest: Digest; readonly index: number }

export { SWARM_PROTOCOL } from './limits.ts'

type Of<Type extends SwarmMessage['type']> = Extract<SwarmMessage, { type: Type }>

/** Types and holdings as they are numbered on the wire, from 1. */
const TYPES = Object.freeze(['want', 'unwant', 'state', 'have', 'get-claims', 'claims', 'bad-piece'] as const)
const HOLDINGS = Object.freeze(['none', 'partial', 'complete'] as const)

export function encodeSwarmMessage(message: SwarmMessage): Uint8Array {
  const writer = new Writer().oneOf(TYPES, message.type).digest(message.digest)
  writeRest(writer, message)
  if (writer.length > MAX_SWARM_MESSAGE_BYTES) throw new TypeError(`a ${message.type} message of ${writer.length} bytes`)
  return writer.finish()
}

/** @throws ShoalError MESSAGE_MALFORMED, MESSAGE_TOO_LARGE, CLAIM_INVALID */
export function decodeSwarmMessage(bytes: Uint8Array): SwarmMessage {
  const reader = new Reader(bytes, 'swarm message')
  if (bytes.length > MAX_SWARM_MESSAGE_BYTES) throw reader.tooLarge(`${bytes.length} bytes`)
  const type = reader.oneOf(TYPES)
  const message = readRest(reader, type, reader.digest())
  reader.end()
  return message
}

function writeRest(writer: Writer, message: SwarmMessage): void {
  switch (message.type) {
    case 'want':
    case 'unwant':
      return
    case 'state':
      writeState(writer, message)
      return
    case 'have':
      if (message.indices.length === 0) throw new TypeError('a have of no pieces')
      writer.u8(message.load).list(message.indices, MAX_HAVE_INDICES, (index) => writeIndex(writer, index))
      return
    case 'get-claims':
      if (message.count === 0) throw new TypeError('a question about no pieces')
      writeIndex(writer, message.first)
      writer.count(message.count, MAX_CLAIMS_PIECES)
      return
    case 'claims':
      writer.flag(message.more).list(message.claims, MAX_PAGE_CLAIMS, (claim) => {
        if (!claim.digest.equals(message.digest)) throw new TypeError('a claim about another blob')
        writeClaim(writer, claim)
      })
      return
    case 'bad-piece':
      writeIndex(writer, message.index)
  }
}

function writeState(writer: Writer, { holding, load, size, have }: Of<'state'>): void {
  if ((have !== undefined) !== (holding === 'partial')) throw new TypeError(`a bitfield is for partial, not for ${holding}`)
  if (holding === 'none' && size !== 0) throw new TypeError(`a size of ${size} with holding none`)
  writer.oneOf(HOLDINGS, holding).u8(load).size(size)
  if (have === undefined) return
  if (have.length !== geometryOf(size).pieces) throw new TypeError(`a bitfield of ${have.length} for a blob of ${size} bytes`)
  writer.bytes(have.toBytes())
}

function readRest(reader: Reader, type: SwarmMessage['type'], digest: Digest): SwarmMessage {
  switch (type) {
    case 'want':
    case 'unwant':
      return { type, digest }
    case 'state':
      return readState(reader, digest)
    case 'have': {
      const load = reader.u8()
      const indices = reader.list(MAX_HAVE_INDICES, () => readIndex(reader))
      if (indices.length === 0) throw reader.malformed('a have of no pieces')
      return { type, digest, indices, load }
    }
    case 'get-claims': {
      const first = readIndex(reader)
      const count = reader.count(MAX_CLAIMS_PIECES)
      if (count === 0) throw reader.malformed('a question about no pieces')
      return { type, digest, first, count }
    }
    case 'claims':
      return { type, digest, more: reader.flag(), claims: reader.list(MAX_PAGE_CLAIMS, () => readClaimAbout(reader, digest)) }
    case 'bad-piece':
      return { type, digest, index: readIndex(reader) }
  }
}

function readState(reader: Reader, digest: Digest): Of<'state'> {
  const holding = reader.oneOf(HOLDINGS)
  const load = reader.u8()
  const size = reader.size()
  if (holding === 'none' && size !== 0) throw reader.malformed(`a size of ${size} with holding none`)
  if (holding !== 'partial') return { type: 'state', digest, holding, size, have: undefined, load }
  const { pieces } = geometryOf(size)
  return { type: 'state', digest, holding, size, have: Bitfield.from(reader.bytes((pieces + 7) >> 3), pieces), load }
}

function readClaimAbout(reader: Reader, digest: Digest): Claim {
  const claim = readClaim(reader)
  if (!claim.digest.equals(digest)) throw new ShoalError('CLAIM_INVALID', 'a claim about another blob')
  return claim
}

function writeIndex(writer: Writer, index: number): void {
  if (index >= MAX_PIECES) throw new TypeError(`no blob has a piece ${index}`)
  writer.u32(index)
}

/** Whether the blob has so many pieces is for whoever knows its size. */
function readIndex(reader: Reader): number {
  const index = reader.u32()
  if (index >= MAX_PIECES) throw reader.malformed(`no blob has a piece ${index}`)
  return index
}
