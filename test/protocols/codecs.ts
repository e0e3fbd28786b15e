import type fc from 'fast-check'
import { decodeZoneMessage, encodeZoneMessage } from '../../protocols/beacon/codec.ts'
import { decodeClaim, encodeClaim } from '../../protocols/claim/codec.ts'
import { decodeEvidence, encodeEvidence } from '../../protocols/evidence/codec.ts'
import {
  createPieceAnswerDecoder,
  createPieceRequestDecoder,
  encodePieceFail,
  encodePieceHead,
  encodePieceRequest,
  type PieceAnswer,
  type PieceRequest,
} from '../../protocols/piece/codec.ts'
import { decodeSwarmMessage, encodeSwarmMessage } from '../../protocols/swarm/codec.ts'
import { decodeTagAnswer, decodeTagQuestion, encodeTagAnswer, encodeTagQuestion } from '../../protocols/tag/codec.ts'
import * as any from './arbitraries.ts'

/** One message's codec as the tests use it: whole messages in, whole messages out. */
export interface Codec<T> {
  readonly arbitrary: fc.Arbitrary<T>
  readonly encode: (value: T) => Uint8Array
  /** `undefined` when the bytes are only the beginning of a message. */
  readonly decode: (bytes: Uint8Array) => T | undefined
}

const codec = <T>(arbitrary: fc.Arbitrary<T>, encode: (value: T) => Uint8Array, decode: (bytes: Uint8Array) => T | undefined) =>
  ({ arbitrary, encode, decode }) as Codec<unknown>

/** By folder and the name that its vectors use for the message. */
export const CODECS: Readonly<Record<string, Codec<unknown>>> = {
  'piece request': codec(any.pieceRequest, encodePieceRequest, (bytes) => decodeRequests(bytes)[0]),
  'piece answer': codec(any.pieceHead, encodePieceAnswer, (bytes) => decodeAnswers(bytes)[0] as never),
  'claim claim': codec(any.claim, encodeClaim, decodeClaim),
  'evidence evidence': codec(any.evidence, encodeEvidence, decodeEvidence),
  'swarm message': codec(any.swarmMessage, encodeSwarmMessage, decodeSwarmMessage),
  'beacon message': codec(any.zoneMessage, encodeZoneMessage, decodeZoneMessage),
  'tag question': codec(any.tagQuestion, encodeTagQuestion, decodeTagQuestion),
  'tag answer': codec(any.tagAnswer, encodeTagAnswer, decodeTagAnswer),
}

/** What an answer decoder said, a data frame's payload put together. */
export type Heard = PieceAnswer | { readonly type: 'payload'; readonly id: number; readonly bytes: Uint8Array }

export function decodeRequests(...chunks: Uint8Array[]): PieceRequest[] {
  const requests: PieceRequest[] = []
  const decoder = createPieceRequestDecoder((request) => requests.push(request))
  for (const chunk of chunks) decoder.push(chunk)
  return requests
}

export function decodeAnswers(...chunks: Uint8Array[]): Heard[] {
  const heard: Heard[] = []
  let payload: Uint8Array[] = []
  const decoder = createPieceAnswerDecoder({
    onHead: (head) => heard.push(head),
    onData: (_id, bytes) => payload.push(bytes),
    onDataEnd: (id) => {
      heard.push({ type: 'payload', id, bytes: Buffer.concat(payload) })
      payload = []
    },
    onFail: (id) => heard.push({ type: 'fail', id }),
  })
  for (const chunk of chunks) decoder.push(chunk)
  return heard
}

function encodePieceAnswer(answer: PieceAnswer): Uint8Array {
  if (answer.type === 'head') return encodePieceHead(answer)
  if (answer.type === 'fail') return encodePieceFail(answer.id)
  throw new TypeError('a data frame is not encoded whole')
}
