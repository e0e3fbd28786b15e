import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { encodeZoneMessage, type OriginPause, zoneTopic } from '../../protocols/beacon/codec.ts'
import { parseZone } from '../../protocols/zone.ts'
import { Meadow } from './meadow.ts'

const TOPIC = zoneTopic(parseZone('eu/a'))
const PAUSE: OriginPause = { type: 'pause', origin: 'docker.io', who: 'nobody', retryAfterMs: 30_000 }
const off = { routing: false }

describe('an origin that wants to be left alone', () => {
  it('is told of to the whole zone at once, and to no other', async (t) => {
    const meadow = new Meadow(t)
    const [a, b, c] = [await meadow.join(off), await meadow.join(off), await meadow.join(off)]
    const far = await meadow.join({ ...off, zone: 'us/a' })
    await meadow.clock.advance(5_000)
    a.discovery.tellPause(PAUSE)
    await meadow.clock.advance(0)
    for (const { pauses } of [b, c]) assert.deepEqual(pauses, [[a.host.peerId, PAUSE]])
    for (const { pauses } of [a, far]) assert.deepEqual(pauses, [])
  })

  it('is not told of when nobody is there, nor after the end', async (t) => {
    const meadow = new Meadow(t)
    const alone = await meadow.join(off)
    alone.discovery.tellPause(PAUSE)
    const late = await meadow.join(off)
    await meadow.clock.advance(5_000)
    await alone.discovery[Symbol.asyncDispose]()
    alone.discovery.tellPause(PAUSE)
    await meadow.clock.advance(100)
    assert.deepEqual(late.pauses, [])
  })

  it('counts only as the word of a member whose beacon was heard, and not too often', async (t) => {
    const meadow = new Meadow(t)
    const node = await meadow.join(off)
    const stranger = meadow.host({ id: 'stranger' })
    await meadow.clock.advance(5_000)
    const publish = (message: Parameters<typeof encodeZoneMessage>[0]) =>
      stranger.topics?.publish(TOPIC, encodeZoneMessage(message))
    await publish(PAUSE)
    await meadow.clock.advance(0)
    assert.deepEqual(node.pauses, [])
    assert.deepEqual(node.discovery.members(), [], 'and is no sign of life')
    const beacon = { type: 'beacon', addresses: [], roles: [], load: 0, version: '', startedAt: 9, sequence: 1 } as const
    await publish({ ...beacon, label: parseZone('eu/a') })
    for (let i = 0; i < 100; i++) await publish({ ...PAUSE, origin: `made-up-${i}.example` })
    await meadow.clock.advance(0)
    assert.equal(node.pauses.length, 8)
    await meadow.clock.advance(5_000)
    await publish(PAUSE)
    await meadow.clock.advance(0)
    assert.equal(node.pauses.length, 9)
  })
})
