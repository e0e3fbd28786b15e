import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { OriginPause } from '../../protocols/beacon/codec.ts'
import { type Asker, CoolDowns } from '../../src/origin/cool-down.ts'
import { ToldPauses } from '../../src/origin/told-pauses.ts'
import { withCode } from './rig.ts'

const limited = withCode('ORIGIN_RATE_LIMITED')
const nobody: Asker = { origin: 'docker.io', host: 'registry-1.docker.io', who: 'nobody', key: 'nobody' }
const alice: Asker = { ...nobody, who: 'client', key: 'client a' }
const bob: Asker = { ...nobody, who: 'client', key: 'client b' }
const operator: Asker = { ...nobody, who: 'operator', key: 'service x' }
const pause: OriginPause = { type: 'pause', origin: 'docker.io', who: 'nobody', retryAfterMs: 10_000 }

function coolDowns() {
  const clock = { ms: 5_000 }
  const told: OriginPause[] = []
  const made = new CoolDowns({ now: () => clock.ms, random: () => 0.5, onPause: (one) => told.push(one) })
  return { clock, told, made }
}

describe('a cool-down', () => {
  it('ends by itself, and a longer one is not shortened', () => {
    const { clock, made } = coolDowns()
    made.start(nobody, 'asker', 1_000)
    clock.ms += 5
    made.start(nobody, 'asker', 10)
    clock.ms += 994
    assert.throws(() => made.check(nobody), limited)
    clock.ms += 1
    made.check(nobody)
    assert.deepEqual(made.list(), [])
  })

  it('is for whom the origin said it to, or for everybody', () => {
    const { made } = coolDowns()
    made.start(alice, 'asker', 1_000)
    assert.throws(() => made.check(alice), limited)
    for (const other of [bob, nobody, operator]) made.check(other)
    made.check({ ...alice, host: 'ghcr.io', origin: 'ghcr.io' })
    made.start(bob, 'everybody', 1_000)
    for (const other of [bob, nobody, operator]) assert.throws(() => made.check(other), limited)
    assert.deepEqual(
      made.list().map(({ who, forMs }) => [who, forMs]),
      [
        ['client', 1_000],
        ['everybody', 1_000],
      ],
    )
  })

  it('holds for each name of the same host', () => {
    const { made } = coolDowns()
    made.start(nobody, 'asker', 1_000)
    assert.throws(() => made.check({ ...nobody, origin: 'mirror.example' }), limited)
  })

  it('is told to the zone unless the zone has told it, and never that of a client', () => {
    const { clock, told, made } = coolDowns()
    made.start(alice, 'asker', 5_000)
    assert.deepEqual(told, [])
    made.start(nobody, 'asker', 90_000)
    assert.deepEqual(told.splice(0), [{ ...pause, retryAfterMs: 60_000 }])
    made.start(operator, 'asker', 1_500.5)
    assert.deepEqual(told.splice(0), [{ ...pause, who: 'operator', retryAfterMs: 1_501 }])
    made.heed('member', { ...pause, who: 'everybody' })
    made.start(nobody, 'everybody', 9_000)
    assert.deepEqual(told, [])
    clock.ms += 5_000
    made.start(nobody, 'everybody', 9_000)
    assert.deepEqual(told, [{ ...pause, who: 'everybody', retryAfterMs: 9_000 }])
  })

  it('that a member tells of concerns those whom it is about, a little longer than it says', () => {
    const { clock, made } = coolDowns()
    assert.equal(made.heed('member', pause), true)
    for (const other of [alice, operator]) made.check(other)
    clock.ms += 10_400
    assert.throws(() => made.check(nobody), limited)
    clock.ms += 101
    made.check(nobody)
  })
})

describe('what members say of an origin', () => {
  const never = () => 0

  it('is believed of each once in ten minutes, so that a liar keeps nobody from it for more than a tenth of the time', () => {
    const told = new ToldPauses()
    let silencedMs = 0
    for (let now = 0; now < 3_600_000; now += 1_000) {
      told.hear('liar', { ...pause, retryAfterMs: 60_000 }, now, never)
      if (told.leftMs('docker.io', 'nobody', now) > 0) silencedMs += 1_000
    }
    assert.equal(silencedMs, 360_000)
  })

  it('is believed of another member meanwhile, and of the same about another origin', () => {
    const told = new ToldPauses()
    assert.equal(told.hear('a', pause, 0, never), true)
    assert.equal(told.hear('a', pause, 30_000, never), false)
    assert.equal(told.leftMs('docker.io', 'nobody', 30_000), 0)
    assert.equal(told.hear('b', pause, 30_000, never), true)
    assert.equal(told.hear('a', { ...pause, origin: 'ghcr.io' }, 30_000, never), true)
    assert.equal(told.hear('a', { ...pause, who: 'everybody' }, 30_000, never), true)
    assert.equal(told.leftMs('docker.io', 'nobody', 30_000), 10_000)
  })

  it('does not shorten what another has said', () => {
    const told = new ToldPauses()
    told.hear('a', { ...pause, retryAfterMs: 60_000 }, 0, never)
    told.hear('b', { ...pause, retryAfterMs: 1 }, 0, never)
    assert.equal(told.leftMs('docker.io', 'nobody', 0), 60_000)
    assert.deepEqual(told.list(0), [{ origin: 'docker.io', who: 'nobody', author: 'a', until: 60_000 }])
    assert.deepEqual(told.list(60_000), [])
  })

  it('takes a bounded amount of memory, however much is made up', () => {
    const told = new ToldPauses()
    for (let i = 0; i < 20_000; i++) told.hear('liar', { ...pause, origin: `o${i}.example` }, 0, never)
    assert.equal(told.list(0).length, 1_000)
  })
})
