import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { createFrameDecoder, encodeFrame } from '../../protocols/frame.ts'
import {
  createPieceAnswerDecoder,
  createPieceRequestDecoder,
  encodePieceData,
  encodePieceFail,
  encodePieceHead,
  encodePieceRequest,
} from '../../protocols/piece/codec.ts'
import { MAX_DATA_BYTES } from '../../protocols/piece/limits.ts'
import * as any from './arbitraries.ts'
import { decodeAnswers, decodeRequests, type Heard } from './codecs.ts'
import { plain } from './plain.ts'

/** The same bytes, cut at random places, empty chunks included. */
function chunked(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = cuts.map((cut) => Math.floor(cut * (bytes.length + 1))).sort((a, b) => a - b)
  return [0, ...places].map((start, i) => bytes.subarray(start, places[i] ?? bytes.length))
}

const cuts = fc.array(fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), { maxLength: 20 })
const payload = fc.record({ id: fc.nat(), bytes: fc.uint8Array({ minLength: 1, maxLength: 2000 }) })
const answer: fc.Arbitrary<Heard> = fc.oneof(
  any.pieceHead,
  fc.record({ type: fc.constant('fail' as const), id: fc.nat() }),
  payload.map((p) => ({ type: 'payload' as const, ...p })),
)

function encodeHeard(heard: Heard): Uint8Array {
  if (heard.type === 'head') return encodePieceHead(heard)
  if (heard.type === 'payload') return Buffer.concat([encodePieceData(heard.id, heard.bytes.length), heard.bytes])
  return encodePieceFail(heard.id)
}

test('requests are understood wherever the stream is cut into chunks', () => {
  fc.assert(
    fc.property(fc.array(any.pieceRequest, { maxLength: 8 }), cuts, (requests, at) => {
      const stream = Buffer.concat(requests.map(encodePieceRequest))
      assert.deepEqual(plain(decodeRequests(...chunked(stream, at))), plain(requests))
    }),
  )
})

test('answers are understood wherever the stream is cut into chunks', () => {
  fc.assert(
    fc.property(fc.array(answer, { maxLength: 8 }), cuts, (answers, at) => {
      const stream = Buffer.concat(answers.map(encodeHeard))
      assert.deepEqual(plain(decodeAnswers(...chunked(stream, at))), plain(answers))
    }),
  )
})

test('framed messages are understood wherever the stream is cut into chunks', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 3000 }), { maxLength: 8 }), cuts, (messages, at) => {
      const received: Uint8Array[] = []
      const decoder = createFrameDecoder(3000, (message) => received.push(message.slice()))
      for (const chunk of chunked(Buffer.concat(messages.map(encodeFrame)), at)) decoder.push(chunk)
      assert.deepEqual(received.map(plain), messages.map(plain))
      assert.equal(decoder.partial, false)
    }),
  )
})

test('a stream that is refused is refused wherever it is cut into chunks, with the same code', () => {
  const codeFor = (decode: () => unknown): unknown => {
    try {
      decode()
      return undefined
    } catch (error) {
      return (error as { code?: unknown }).code
    }
  }
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.constantFrom(1, 2, 0x11, 0x12, 0x13), cuts, (tail, type, at) => {
      const stream = Uint8Array.of(type, ...tail)
      for (const decode of [decodeRequests, decodeAnswers]) {
        const whole = codeFor(() => decode(stream))
        assert.equal(
          codeFor(() => decode(...chunked(stream, at))),
          whole,
        )
      }
    }),
    { numRuns: 500 },
  )
})

test('payload is handed on as views of the chunks it came in', () => {
  const payload = new Uint8Array(MAX_DATA_BYTES).fill(3)
  const stream = Buffer.concat([encodePieceData(7, payload.length), payload, encodePieceData(8, 2), Uint8Array.of(1, 2)])
  const seen: number[] = []
  const decoder = createPieceAnswerDecoder({
    onHead: () => assert.fail('there is no head'),
    onData: (id, bytes) => {
      assert.equal(bytes.buffer, stream.buffer)
      seen.push(id, bytes.length)
    },
    onFail: () => assert.fail('there is no fail'),
  })
  for (const chunk of [stream.subarray(0, 65_536), stream.subarray(65_536, 200_000), stream.subarray(200_000)])
    decoder.push(chunk)
  assert.deepEqual(seen, [7, 65_536 - 9, 7, 200_000 - 65_536, 7, MAX_DATA_BYTES - (200_000 - 9), 8, 2])
})

test('a decoder knows whether its stream may end', () => {
  const request = createPieceRequestDecoder(() => {})
  const frames = createFrameDecoder(10, () => {})
  const answers = createPieceAnswerDecoder({ onHead: () => {}, onData: () => {}, onFail: () => {} })
  for (const decoder of [request, frames, answers]) assert.equal(decoder.partial, false)
  request.push(Uint8Array.of(2, 0, 0))
  frames.push(Uint8Array.of(0, 0, 0, 5))
  answers.push(encodePieceData(1, 5))
  for (const decoder of [request, frames, answers]) assert.equal(decoder.partial, true)
  request.push(Uint8Array.of(0, 1))
  frames.push(new Uint8Array(5))
  answers.push(new Uint8Array(5))
  for (const decoder of [request, frames, answers]) assert.equal(decoder.partial, false)
})
