import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Uint8ArrayList } from 'uint8arraylist'
import { NoiseFrames } from '../../src/net/noise-frames.ts'

const FRAMES = [1, 0, 2, 300, 65_535, 16, 0, 255].map((length, i) => new Uint8Array(length).fill(i + 1))

function onTheWire(frames: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(frames.flatMap((frame) => [Buffer.from([frame.length >> 8, frame.length & 255]), frame]))
}

function* chunksOf(bytes: Uint8Array, size: (i: number) => number): Generator<Uint8Array> {
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const end = at + size(i)
    yield bytes.subarray(at, end)
    at = end
  }
}

const CUTS: readonly { readonly name: string; readonly size: (i: number) => number }[] = [
  { name: 'in one piece', size: () => 1_000_000 },
  { name: 'byte by byte', size: () => 1 },
  { name: 'in pairs', size: () => 2 },
  { name: 'in odd pieces', size: (i) => 1 + ((i * 7_919) % 4_001) },
]

for (const { name, size } of CUTS) {
  test(`frames that come ${name} are found, without the empty ones`, () => {
    const frames = new NoiseFrames()
    const found: Uint8Array[] = []
    for (const chunk of chunksOf(onTheWire(FRAMES), size))
      for (const frame of frames.decode(chunk)) found.push(Uint8Array.from(frame))
    assert.deepEqual(
      found,
      FRAMES.filter(({ length }) => length > 0),
    )
  })
}

test('a list of chunks is read as its bytes are', () => {
  const list = new Uint8ArrayList(...chunksOf(onTheWire(FRAMES), (i) => 1 + ((i * 31) % 97)))
  const found = Array.from(new NoiseFrames().decode(list), (frame) => Uint8Array.from(frame))
  assert.deepEqual(
    found,
    FRAMES.filter(({ length }) => length > 0),
  )
})
