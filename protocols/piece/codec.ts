import { type Claim, decodeClaim, encodeClaim } from '../claim/codec.ts'
import { HASH_BYTES } from '../claim/limits.ts'
import { DIGEST_CODES, type Digest } from '../digest.ts'
import { ShoalError } from '../error.ts'
import { isMediaType, MAX_MEDIA_TYPE_BYTES } from '../media-type.ts'
import { geometryOf, MAX_PIECE_BYTES, MAX_PIECES } from '../pieces.ts'
import { Reader } from '../reader.ts'
import { Writer } from '../writer.ts'
import { HeaderGatherer } from './gather.ts'
import { DATA_HEADER_BYTES, MAX_DATA_BYTES, MAX_HEAD_CLAIM_BYTES } from './limits.ts'

/**
 * `/shoal/piece/1`, the data stream: pipelined requests one way, answers the other. One stream carries many blobs.
 * Requests are bounded by `maxBytes`: the answerer never sends more than was asked for.
 */
export type PieceRequest =
  | {
      readonly type: 'request'
      /** Chosen by the requester, unique among its open requests on this stream. */
      readonly id: number
      readonly digest: Digest
      readonly index: number
      /** The most piece bytes the requester is ready to take. */
      readonly maxBytes: number
      /** Whether the requester has nothing yet to verify the piece against, and would like a claim with it. */
      readonly wantsClaim: boolean
    }
  | { readonly type: 'cancel'; readonly id: number }

/** An answer is one `head`; with status `ok` it is followed by `data` frames of exactly `length` bytes in all, or a `fail`. */
export type PieceAnswer =
  | {
      readonly type: 'head'
      readonly id: number
      /** `too-large`: the piece is over `maxBytes`; `size` is told so that the requester can ask rightly. */
      readonly status: 'ok' | 'lacks' | 'busy' | 'refused' | 'too-large'
      /** Size of the blob; 0 when status is `lacks`, `busy` or `refused`. */
      readonly size: number
      /** Bytes that follow; 0 unless status is `ok`. */
      readonly length: number
      /** How busy the answerer is: 0 idle … 255. */
      readonly load: number
      /** The Content-Type the blob is stored with, if any (a manifest's); a claim, not covered by the digest. */
      readonly mediaType: string | undefined
      /** What the answerer verified the piece against, or its own word; only where it was wanted, and its signature is not checked. */
      readonly claim: Claim | undefined
    }
  | { readonly type: 'data'; readonly id: number; readonly length: number }
  | { readonly type: 'fail'; readonly id: number }

export { PIECE_PROTOCOL } from './limits.ts'

export type PieceHead = Extract<PieceAnswer, { type: 'head' }>

/** Of the first byte of each message. */
const TYPES = Object.freeze({ request: 0x01, cancel: 0x02, head: 0x11, data: 0x12, fail: 0x13 })
/** Statuses as they are numbered on the wire, from 1. */
const STATUSES = Object.freeze(['ok', 'lacks', 'busy', 'refused', 'too-large'] as const)
const CANCEL_BYTES = 5
const FAIL_BYTES = 5
/** Up to and with what says how long the rest is: a digest's algorithm; a claim's length and a media type's. */
const REQUEST_FIXED_BYTES = 15
const HEAD_FIXED_BYTES = 22
const MAX_REQUEST_BYTES = REQUEST_FIXED_BYTES + 64
const MAX_HEAD_BYTES = HEAD_FIXED_BYTES + MAX_MEDIA_TYPE_BYTES + MAX_HEAD_CLAIM_BYTES
const NO_BYTES = new Uint8Array(0)

export function encodePieceRequest(message: PieceRequest): Uint8Array {
  if (message.type === 'cancel') return idOnly(TYPES.cancel, message.id)
  if (message.index >= MAX_PIECES) throw new TypeError(`no blob has a piece ${message.index}`)
  if (message.maxBytes > MAX_PIECE_BYTES) throw new TypeError(`no piece has ${message.maxBytes} bytes`)
  const { id, index, maxBytes, wantsClaim } = message
  const writer = new Writer(MAX_REQUEST_BYTES).u8(TYPES.request).u32(id).u32(index).u32(maxBytes)
  return writer.flag(wantsClaim).digest(message.digest).finish()
}

/** A media type that can not be sent (`isMediaType`) and a claim that is too long are left out: the bytes are what was asked for. */
export function encodePieceHead(head: PieceHead): Uint8Array {
  const wrong = contradiction(head)
  if (wrong !== undefined) throw new TypeError(wrong)
  const mediaType = head.mediaType !== undefined && isMediaType(head.mediaType) ? head.mediaType : ''
  const claim = claimBytes(head.claim)
  const writer = new Writer(HEAD_FIXED_BYTES + mediaType.length + claim.length).u8(TYPES.head).u32(head.id)
  writer.oneOf(STATUSES, head.status).u8(head.load).size(head.size).u32(head.length).u16(claim.length)
  return writer.text(mediaType, MAX_MEDIA_TYPE_BYTES).bytes(claim).finish()
}

function claimBytes(claim: Claim | undefined): Uint8Array {
  if (claim === undefined || claim.hashes.length * HASH_BYTES > MAX_HEAD_CLAIM_BYTES) return NO_BYTES
  const bytes = encodeClaim(claim)
  return bytes.length > MAX_HEAD_CLAIM_BYTES ? NO_BYTES : bytes
}

/** The header of a data frame; its `length` bytes of payload follow it on the stream. */
export function encodePieceData(id: number, length: number): Uint8Array {
  if (length < 1 || length > MAX_DATA_BYTES) throw new TypeError(`a data frame of ${length} bytes`)
  return new Writer(DATA_HEADER_BYTES).u8(TYPES.data).u32(id).u32(length).finish()
}

export function encodePieceFail(id: number): Uint8Array {
  return idOnly(TYPES.fail, id)
}

/** Takes a stream in chunks as they come. */
export interface PieceDecoder {
  /** Whether the stream may not end here: in the middle of a message. */
  readonly partial: boolean
  /** @throws ShoalError MESSAGE_MALFORMED, MESSAGE_TOO_LARGE, CLAIM_INVALID, or what a callback throws; not to be used after that */
  push(chunk: Uint8Array): void
}

/** Decodes what the requester sends. */
export function createPieceRequestDecoder(onRequest: (request: PieceRequest) => void): PieceDecoder {
  const gatherer = new HeaderGatherer(MAX_REQUEST_BYTES, requestBytes)
  return {
    get partial() {
      return gatherer.partial
    },
    push(chunk) {
      for (let at = 0; at < chunk.length; ) {
        at += gatherer.take(chunk, at)
        const header = gatherer.complete()
        if (header !== undefined) onRequest(decodeRequest(header))
      }
    },
  }
}

export interface PieceAnswerListener {
  onHead(head: PieceHead): void
  /** Part of a data frame's payload: a view of the chunk that was pushed. */
  onData(id: number, bytes: Uint8Array): void
  /** All of a data frame's payload has been given. */
  onDataEnd?(id: number): void
  onFail(id: number): void
}

/** Decodes what the answerer sends; payload goes through as views, whatever the chunks are. */
export function createPieceAnswerDecoder(listener: PieceAnswerListener): PieceDecoder {
  return new Answers(listener)
}

class Answers implements PieceDecoder {
  readonly #listener: PieceAnswerListener
  readonly #gatherer = new HeaderGatherer(MAX_HEAD_BYTES, answerBytes)
  #dataId = 0
  /** Payload bytes of the current data frame that are still to come. */
  #dataLeft = 0

  constructor(listener: PieceAnswerListener) {
    this.#listener = listener
  }

  get partial(): boolean {
    return this.#dataLeft > 0 || this.#gatherer.partial
  }

  push(chunk: Uint8Array): void {
    for (let at = 0; at < chunk.length; ) {
      if (this.#dataLeft > 0) {
        at = this.#payload(chunk, at)
        continue
      }
      at += this.#gatherer.take(chunk, at)
      const header = this.#gatherer.complete()
      if (header !== undefined) this.#header(header)
    }
  }

  #payload(chunk: Uint8Array, at: number): number {
    const end = Math.min(chunk.length, at + this.#dataLeft)
    this.#dataLeft -= end - at
    this.#listener.onData(this.#dataId, at === 0 && end === chunk.length ? chunk : chunk.subarray(at, end))
    if (this.#dataLeft === 0) this.#listener.onDataEnd?.(this.#dataId)
    return end
  }

  #header(header: Uint8Array): void {
    const reader = new Reader(header, 'piece answer')
    const type = reader.u8()
    if (type === TYPES.head) {
      this.#listener.onHead(decodeHead(reader))
      return
    }
    const id = reader.u32()
    if (type === TYPES.fail) {
      this.#listener.onFail(id)
      return
    }
    const length = reader.u32()
    if (length === 0) throw reader.malformed('an empty data frame')
    if (length > MAX_DATA_BYTES) {
      throw new ShoalError('MESSAGE_TOO_LARGE', `a data frame of ${length} bytes, over the limit of ${MAX_DATA_BYTES}`)
    }
    this.#dataId = id
    this.#dataLeft = length
  }
}

function idOnly(type: number, id: number): Uint8Array {
  return new Writer(5).u8(type).u32(id).finish()
}

function requestBytes(bytes: Uint8Array, filled: number): number {
  if (filled === 0) return 1
  if (bytes[0] === TYPES.cancel) return CANCEL_BYTES
  if (bytes[0] !== TYPES.request) throw new ShoalError('MESSAGE_MALFORMED', `a piece request of type ${bytes[0]}`)
  if (filled < REQUEST_FIXED_BYTES) return REQUEST_FIXED_BYTES
  const code = bytes[REQUEST_FIXED_BYTES - 1] as number
  const algorithm = DIGEST_CODES.get(code)
  if (algorithm === undefined) throw new ShoalError('MESSAGE_MALFORMED', `a piece request with digest algorithm ${code}`)
  return REQUEST_FIXED_BYTES + algorithm.bytes
}

function answerBytes(bytes: Uint8Array, filled: number): number {
  if (filled === 0) return 1
  if (bytes[0] === TYPES.data) return DATA_HEADER_BYTES
  if (bytes[0] === TYPES.fail) return FAIL_BYTES
  if (bytes[0] !== TYPES.head) throw new ShoalError('MESSAGE_MALFORMED', `a piece answer of type ${bytes[0]}`)
  if (filled < HEAD_FIXED_BYTES) return HEAD_FIXED_BYTES
  const claim = (bytes[HEAD_FIXED_BYTES - 3] as number) * 0x100 + (bytes[HEAD_FIXED_BYTES - 2] as number)
  if (claim > MAX_HEAD_CLAIM_BYTES)
    throw new ShoalError('MESSAGE_TOO_LARGE', `a claim of ${claim} bytes in a head, over the limit of ${MAX_HEAD_CLAIM_BYTES}`)
  return HEAD_FIXED_BYTES + (bytes[HEAD_FIXED_BYTES - 1] as number) + claim
}

function decodeRequest(header: Uint8Array): PieceRequest {
  const reader = new Reader(header, 'piece request')
  const type = reader.u8()
  const id = reader.u32()
  if (type === TYPES.cancel) return { type: 'cancel', id }
  const index = reader.u32()
  if (index >= MAX_PIECES) throw reader.malformed(`no blob has a piece ${index}`)
  const maxBytes = reader.u32()
  if (maxBytes > MAX_PIECE_BYTES) throw reader.malformed(`no piece has ${maxBytes} bytes`)
  const wantsClaim = reader.flag()
  return { type: 'request', id, digest: reader.digest(), index, maxBytes, wantsClaim }
}

function decodeHead(reader: Reader): PieceHead {
  const id = reader.u32()
  const status = reader.oneOf(STATUSES)
  const load = reader.u8()
  const size = reader.size()
  const length = reader.u32()
  const claimLength = reader.u16()
  const text = reader.text(MAX_MEDIA_TYPE_BYTES)
  if (text !== '' && !isMediaType(text)) throw reader.malformed('not a media type')
  const claim = claimLength === 0 ? undefined : decodeClaim(reader.bytes(claimLength))
  const head: PieceHead = { type: 'head', id, status, size, length, load, mediaType: text === '' ? undefined : text, claim }
  const wrong = contradiction(head)
  if (wrong !== undefined) throw reader.malformed(wrong)
  return head
}

/** What in this head can't go together, if anything. */
function contradiction({ status, size, length, mediaType, claim }: PieceHead): string | undefined {
  if (status === 'ok') {
    if (claim !== undefined && claim.size !== size) return `a claim about a blob of ${claim.size} bytes with a size of ${size}`
    if (length > geometryOf(size).pieceBytes || length > size) return `no piece of ${length} bytes is in a blob of ${size}`
    return length === 0 && size > 0 ? 'an empty piece' : undefined
  }
  if (length !== 0) return `${length} bytes to follow a head of status ${status}`
  if (mediaType !== undefined || claim !== undefined) return `a media type or a claim with status ${status}`
  return size > 0 === (status === 'too-large') ? undefined : `a size of ${size} with status ${status}`
}
