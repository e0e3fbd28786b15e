import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { ShoalError } from '../../protocols/error.ts'
import { createFrameDecoder, encodeFrame } from '../../protocols/frame.ts'
import { Reader } from '../../protocols/reader.ts'
import { decodeSwarmMessage } from '../../protocols/swarm/codec.ts'
import { MAX_SWARM_MESSAGE_BYTES } from '../../protocols/swarm/limits.ts'
import { CODECS, decodeAnswers } from './codecs.ts'

const REFUSALS = new Set(['MESSAGE_MALFORMED', 'MESSAGE_TOO_LARGE', 'CLAIM_INVALID'])

/** Decodes; what is refused must be refused by a code for it. */
function tryTo<T>(decode: () => T): T | undefined {
  try {
    return decode()
  } catch (error) {
    assert.ok(error instanceof ShoalError, String(error))
    assert.ok(REFUSALS.has(error.code), error.code)
    return undefined
  }
}

/** Changes of valid bytes that a hostile or broken peer may make. */
const mutation = fc.array(
  fc.record({
    at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    byte: fc.oneof(fc.constantFrom(0, 1, 0x7f, 0x80, 0xff), fc.integer({ min: 0, max: 0xff })),
    how: fc.constantFrom('set', 'insert', 'cut'),
  }),
  { minLength: 1, maxLength: 4 },
)

for (const [name, codec] of Object.entries(CODECS)) {
  test(`any bytes at all are decoded as a ${name} or refused with a code`, () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600, size: 'max' }), (bytes) => {
        tryTo(() => codec.decode(bytes))
      }),
      { numRuns: 500 },
    )
  })

  test(`a ${name} that was tampered with is decoded as what it then says or refused with a code`, () => {
    fc.assert(
      fc.property(codec.arbitrary, mutation, (value, changes) => {
        let bytes = [...codec.encode(value)]
        for (const { at, byte, how } of changes) {
          const place = Math.floor(at * bytes.length)
          if (how === 'set') bytes[place] = byte
          else if (how === 'insert') bytes.splice(place, 0, byte)
          else bytes = bytes.slice(0, place)
        }
        const decoded = tryTo(() => codec.decode(Uint8Array.from(bytes)))
        if (decoded !== undefined && !name.startsWith('piece')) assert.deepEqual([...codec.encode(decoded)], bytes)
      }),
      { numRuns: 500 },
    )
  })

  test(`a ${name} that is cut short is never taken for a whole one`, () => {
    fc.assert(
      fc.property(codec.arbitrary, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (value, at) => {
        const bytes = codec.encode(value)
        assert.equal(
          tryTo(() => codec.decode(bytes.subarray(0, Math.floor(at * bytes.length)))),
          undefined,
        )
      }),
    )
  })
}

test('a message over its limit is refused whatever it says', () => {
  assert.throws(() => decodeSwarmMessage(new Uint8Array(MAX_SWARM_MESSAGE_BYTES + 1)), { code: 'MESSAGE_TOO_LARGE' })
})

test('a count that promises more than there is costs nothing', () => {
  const reader = new Reader(Uint8Array.of(0xff, 0xff, 1, 2, 3), 'test')
  let read = 0
  assert.throws(
    () =>
      reader.list(0xffff, () => {
        read++
        return reader.u16()
      }),
    { code: 'MESSAGE_MALFORMED' },
  )
  assert.equal(read, 2)
})

test('a thousand streams that announce a long message and send nothing make nobody hold the memory for it', () => {
  const header = encodeFrame(new Uint8Array(MAX_SWARM_MESSAGE_BYTES)).subarray(0, 5)
  const before = process.memoryUsage().arrayBuffers
  const decoders = Array.from({ length: 1000 }, () => {
    const decoder = createFrameDecoder(MAX_SWARM_MESSAGE_BYTES, () => assert.fail('nothing was complete'))
    decoder.push(header)
    return decoder
  })
  assert.ok(process.memoryUsage().arrayBuffers - before < 8 * 1024 * 1024)
  assert.ok(decoders.every((decoder) => decoder.partial))
})

test('a message sent byte by byte costs as much memory as it has bytes, not an object for each', () => {
  const received: Uint8Array[] = []
  const decoder = createFrameDecoder(MAX_SWARM_MESSAGE_BYTES, (message) => received.push(message))
  const message = new Uint8Array(MAX_SWARM_MESSAGE_BYTES).fill(7)
  for (const byte of encodeFrame(message)) decoder.push(Uint8Array.of(byte))
  assert.deepEqual(received, [message])
  assert.equal(received[0]?.buffer.byteLength, message.length)
})

test('an empty or too long frame is refused at its header', () => {
  const decoder = () => createFrameDecoder(100, () => assert.fail('nothing was complete'))
  assert.throws(() => decoder().push(Uint8Array.of(0, 0, 0, 0)), { code: 'MESSAGE_MALFORMED' })
  assert.throws(() => decoder().push(Uint8Array.of(0, 0, 0, 101)), { code: 'MESSAGE_TOO_LARGE' })
  assert.throws(() => decoder().push(Uint8Array.of(0xff, 0xff, 0xff, 0xff)), { code: 'MESSAGE_TOO_LARGE' })
})

test('a data frame over its limit is refused before any of its payload is given', () => {
  assert.throws(() => decodeAnswers(Uint8Array.of(0x12, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 1, 2, 3)), {
    code: 'MESSAGE_TOO_LARGE',
  })
})
