import type { Digest } from '../digest.ts'
import { geometryOf, MAX_PIECES } from '../pieces.ts'
import { Reader } from '../reader.ts'
import { Writer } from '../writer.ts'
import {
  MAX_ADDRESS_BYTES,
  MAX_DESKS,
  MAX_MEMBER_MESSAGE_BYTES,
  MAX_MEMBERS,
  MAX_PEER_ADDRESSES,
  MAX_PEER_ID_BYTES,
  MAX_RANGES,
  MAX_RENDEZVOUS_MESSAGE_BYTES,
  MAX_WAIT_MS,
} from './limits.ts'

/** Pieces `first … first + count - 1`. */
export interface PieceRange {
  readonly first: number
  readonly count: number
}

/** A peer and where it may be reached. */
export interface SwarmPeer {
  readonly id: string
  readonly addresses: readonly string[]
}

/** What a member says to the rendezvous of a blob. A `size` of 0 is one that is not known. */
export type MemberMessage =
  /** I want this blob. `insist`: I could not reach who comes before you at this desk, or was sent to you. */
  | {
      readonly type: 'register'
      readonly digest: Digest
      readonly size: number
      readonly desk: number
      readonly insist: boolean
      readonly addresses: readonly string[]
    }
  /** I do not want it any more. `complete`: because I hold all of it. */
  | { readonly type: 'unregister'; readonly digest: Digest; readonly complete: boolean }
  /** May I import some of these, which nobody in my view holds? The most urgent first; none when I do not know the size. */
  | {
      readonly type: 'ask'
      readonly digest: Digest
      readonly request: number
      readonly size: number
      readonly ranges: readonly PieceRange[]
    }
  /** I import these already (all of it when the size is not known), by the leave of another: note it. Answered like an `ask`. */
  | {
      readonly type: 'hold'
      readonly digest: Digest
      readonly request: number
      readonly size: number
      readonly first: number
      readonly count: number
    }
  /** The origin has answered: its size, and whether it ignores ranges. */
  | {
      readonly type: 'opened'
      readonly digest: Digest
      readonly lease: number
      readonly size: number
      readonly streams: boolean
    }
  /** Bytes come in. */
  | { readonly type: 'alive'; readonly digest: Digest; readonly lease: number }
  /** I hold this piece now. */
  | { readonly type: 'progress'; readonly digest: Digest; readonly lease: number; readonly index: number }
  /** I am through with it. `retryAfterMs` above 0: the origin wants to be left alone for so long. */
  | {
      readonly type: 'end'
      readonly digest: Digest
      readonly lease: number
      readonly done: boolean
      readonly retryAfterMs: number
    }

/** What the rendezvous says. */
export type CounterMessage =
  /** Others of the swarm. `active`: leases have been granted here. */
  | {
      readonly type: 'members'
      readonly digest: Digest
      readonly size: number
      readonly active: boolean
      readonly peers: readonly SwarmPeer[]
    }
  /** Import these pieces of a blob of this size; with size 0, open the origin and tell us its size. */
  | {
      readonly type: 'grant'
      readonly digest: Digest
      readonly request: number
      readonly lease: number
      readonly size: number
      readonly first: number
      readonly count: number
    }
  /** Nothing now: ask again after so long. Also unasked, with 0, when there may be something earlier than told. */
  | { readonly type: 'wait'; readonly digest: Digest; readonly request: number; readonly retryMs: number }
  /** I am not the one; in my view this peer is. */
  | { readonly type: 'redirect'; readonly digest: Digest; readonly peer: SwarmPeer }

export type RendezvousMessage = MemberMessage | CounterMessage

export { RENDEZVOUS_PROTOCOL } from './limits.ts'

interface GrantedPieces extends PieceRange {
  readonly size: number
}

type Of<Type extends RendezvousMessage['type']> = Extract<RendezvousMessage, { type: Type }>

/** Types as they are numbered on the wire, from 1. */
const TYPES = Object.freeze([
  'register',
  'unregister',
  'ask',
  'hold',
  'opened',
  'alive',
  'progress',
  'end',
  'members',
  'grant',
  'wait',
  'redirect',
] as const)
const FROM_MEMBERS: ReadonlySet<RendezvousMessage['type']> = new Set(TYPES.slice(0, 8))
/** The shape of an id and of an address; whether there is such a peer is for whoever dials it. */
const PEER_ID = /^[1-9A-HJ-NP-Za-km-z]{1,64}$/
const ADDRESS = /^(?:\/[^\s/]+)+$/

export function encodeRendezvousMessage(message: RendezvousMessage): Uint8Array {
  const writer = new Writer().oneOf(TYPES, message.type).digest(message.digest)
  writeRest(writer, message)
  if (writer.length > limitOf(message.type)) throw new TypeError(`a ${message.type} message of ${writer.length} bytes`)
  return writer.finish()
}

/** @throws ShoalError MESSAGE_MALFORMED, MESSAGE_TOO_LARGE */
export function decodeRendezvousMessage(bytes: Uint8Array): RendezvousMessage {
  const reader = new Reader(bytes, 'rendezvous message')
  if (bytes.length > MAX_RENDEZVOUS_MESSAGE_BYTES) throw reader.tooLarge(`${bytes.length} bytes`)
  const type = reader.oneOf(TYPES)
  if (bytes.length > limitOf(type)) throw reader.tooLarge(`${bytes.length} bytes of ${type}`)
  const message = readRest(reader, type, reader.digest())
  reader.end()
  return message
}

export function isMemberMessage(message: RendezvousMessage): message is MemberMessage {
  return FROM_MEMBERS.has(message.type)
}

function limitOf(type: RendezvousMessage['type']): number {
  return FROM_MEMBERS.has(type) ? MAX_MEMBER_MESSAGE_BYTES : MAX_RENDEZVOUS_MESSAGE_BYTES
}

function writeRest(writer: Writer, message: RendezvousMessage): void {
  switch (message.type) {
    case 'register':
      if (message.desk >= MAX_DESKS) throw new TypeError(`no blob has a desk ${message.desk}`)
      writer.size(message.size).u8(2 * message.desk + Number(message.insist))
      writeAddresses(writer, message.addresses)
      return
    case 'unregister':
      writer.flag(message.complete)
      return
    case 'ask':
      writeAsk(writer, message)
      return
    case 'hold':
      checkGrant(message)
      writer.u32(message.request).size(message.size).u32(message.first).u32(message.count)
      return
    case 'opened':
      writer.u32(message.lease).size(message.size).flag(message.streams)
      return
    case 'alive':
      writer.u32(message.lease)
      return
    case 'progress':
      if (message.index >= MAX_PIECES) throw new TypeError(`no blob has a piece ${message.index}`)
      writer.u32(message.lease).u32(message.index)
      return
    case 'end':
      writer.u32(message.lease).flag(message.done)
      writeMs(writer, message.retryAfterMs)
      return
    case 'members':
      writer.size(message.size).flag(message.active)
      writer.list(message.peers, MAX_MEMBERS, (peer) => writePeer(writer, peer))
      return
    case 'grant':
      checkGrant(message)
      writer.u32(message.request).u32(message.lease).size(message.size).u32(message.first).u32(message.count)
      return
    case 'wait':
      writer.u32(message.request)
      writeMs(writer, message.retryMs)
      return
    case 'redirect':
      writePeer(writer, message.peer)
  }
}

function readRest(reader: Reader, type: RendezvousMessage['type'], digest: Digest): RendezvousMessage {
  switch (type) {
    case 'register':
      return { type, digest, size: reader.size(), ...readTurn(reader), addresses: readAddresses(reader) }
    case 'unregister':
      return { type, digest, complete: reader.flag() }
    case 'ask':
      return readAsk(reader, digest)
    case 'hold':
      return { type, digest, request: reader.u32(), ...readPieces(reader) }
    case 'opened':
      return { type, digest, lease: reader.u32(), size: reader.size(), streams: reader.flag() }
    case 'alive':
      return { type, digest, lease: reader.u32() }
    case 'progress':
      return { type, digest, lease: reader.u32(), index: readIndex(reader) }
    case 'end':
      return { type, digest, lease: reader.u32(), done: reader.flag(), retryAfterMs: readMs(reader) }
    case 'members': {
      const size = reader.size()
      const active = reader.flag()
      return { type, digest, size, active, peers: reader.list(MAX_MEMBERS, () => readPeer(reader)) }
    }
    case 'grant':
      return { type, digest, request: reader.u32(), lease: reader.u32(), ...readPieces(reader) }
    case 'wait':
      return { type, digest, request: reader.u32(), retryMs: readMs(reader) }
    case 'redirect':
      return { type, digest, peer: readPeer(reader) }
  }
}

function readTurn(reader: Reader): { desk: number; insist: boolean } {
  const turn = reader.u8()
  if (turn >= 2 * MAX_DESKS) throw reader.malformed(`no blob has a desk ${turn >> 1}`)
  return { desk: turn >> 1, insist: turn % 2 === 1 }
}

function writeAsk(writer: Writer, { request, size, ranges }: Of<'ask'>): void {
  writer.u32(request).size(size)
  writer.list(ranges, MAX_RANGES, (range) => {
    if (!fits(range, size)) throw new TypeError(`${range.count} pieces from ${range.first} of a blob of ${size} bytes`)
    writer.u32(range.first).u32(range.count)
  })
}

function readAsk(reader: Reader, digest: Digest): Of<'ask'> {
  const request = reader.u32()
  const size = reader.size()
  const ranges = reader.list(MAX_RANGES, () => {
    const range = { first: reader.u32(), count: reader.u32() }
    if (!fits(range, size)) throw reader.malformed(`${range.count} pieces from ${range.first} of a blob of ${size} bytes`)
    return range
  })
  return { type: 'ask', digest, request, size, ranges }
}

function checkGrant(pieces: GrantedPieces): void {
  if (!sensible(pieces)) throw new TypeError(`${pieces.count} pieces from ${pieces.first} of a blob of ${pieces.size} bytes`)
}

function readPieces(reader: Reader): GrantedPieces {
  const pieces = { size: reader.size(), first: reader.u32(), count: reader.u32() }
  if (!sensible(pieces)) throw reader.malformed(`${pieces.count} pieces from ${pieces.first} of a blob of ${pieces.size} bytes`)
  return pieces
}

/** Some pieces of a blob; or none, of one whose size is not known. */
function sensible({ size, first, count }: GrantedPieces): boolean {
  return size === 0 ? first === 0 && count === 0 : fits({ first, count }, size)
}

function fits({ first, count }: PieceRange, size: number): boolean {
  return count > 0 && first + count <= geometryOf(size).pieces
}

function readIndex(reader: Reader): number {
  const index = reader.u32()
  if (index >= MAX_PIECES) throw reader.malformed(`no blob has a piece ${index}`)
  return index
}

function writeMs(writer: Writer, ms: number): void {
  if (ms > MAX_WAIT_MS) throw new TypeError(`a pause of ${ms} ms`)
  writer.u16(ms)
}

function readMs(reader: Reader): number {
  const ms = reader.u16()
  if (ms > MAX_WAIT_MS) throw reader.malformed(`a pause of ${ms} ms`)
  return ms
}

function writePeer(writer: Writer, { id, addresses }: SwarmPeer): void {
  if (!PEER_ID.test(id)) throw new TypeError(`not a peer id: "${id.slice(0, 100)}"`)
  writer.text(id, MAX_PEER_ID_BYTES)
  writeAddresses(writer, addresses)
}

function readPeer(reader: Reader): SwarmPeer {
  const id = reader.text(MAX_PEER_ID_BYTES)
  if (!PEER_ID.test(id)) throw reader.malformed('not a peer id')
  return { id, addresses: readAddresses(reader) }
}

function writeAddresses(writer: Writer, addresses: readonly string[]): void {
  writer.list(addresses, MAX_PEER_ADDRESSES, (address) => {
    if (!ADDRESS.test(address)) throw new TypeError(`not an address: "${address.slice(0, 100)}"`)
    writer.text(address, MAX_ADDRESS_BYTES)
  })
}

function readAddresses(reader: Reader): string[] {
  return reader.list(MAX_PEER_ADDRESSES, () => {
    const address = reader.text(MAX_ADDRESS_BYTES)
    if (!ADDRESS.test(address)) throw reader.malformed('not an address')
    return address
  })
}
