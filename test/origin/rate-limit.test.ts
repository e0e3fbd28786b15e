import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { OriginPause } from '../../protocols/beacon/codec.ts'
import { ShoalError } from '../../protocols/error.ts'
import { basic, openTokenServer } from '../helpers/faulty-origin.ts'
import { collect, openRig, withCode } from './rig.ts'

test('a registry that limits requests is not asked again before it said', async (t) => {
  const rig = await openRig(t, { faults: { status: 429, retryAfter: '30' } })
  await assert.rejects(rig.open(), (error) => {
    assert.ok(error instanceof ShoalError)
    assert.equal(error.code, 'ORIGIN_RATE_LIMITED')
    assert.equal(error.detail?.retryAfterMs, 30_000)
    assert.match(error.message, /a fault with status 429/)
    return true
  })
  rig.registry.faults = {}
  await assert.rejects(rig.open(), withCode('ORIGIN_RATE_LIMITED'))
  await assert.rejects(
    rig.origin.resolveTag({ registry: 'docker.io', repository: 'library/app', tag: 'v1' }, { signal: t.signal }),
    (error) => {
      const left = Number((error as ShoalError).detail?.retryAfterMs)
      return left > 0 && left <= 30_000
    },
  )
  assert.equal(rig.registry.requests.length, 1)
})

test('a limit for nobody leaves a client its own', async (t) => {
  const rig = await openRig(t, { faults: { status: 429, retryAfter: '30', every: 2 } })
  const body = await rig.open({ start: 0 }, basic('alice', 'secret'))
  assert.equal(body.usedAuthorization, true)
  await collect(body)
  assert.equal(rig.registry.requests.length, 2)
})

test('a file server that limits requests is not asked again either', async (t) => {
  const rig = await openRig(t, { faults: { status: 429, retryAfter: new Date(Date.now() + 60_000).toUTCString() } })
  const source = { type: 'url', url: new URL(`${rig.registry.url}/file`) } as const
  for (let i = 0; i < 3; i++)
    await assert.rejects(
      rig.origin.open(source, rig.layer.digest, { start: 0 }, { signal: t.signal }),
      withCode('ORIGIN_RATE_LIMITED'),
    )
  assert.equal(rig.registry.requests.length, 1)
})

test('503 with a time to come back is a pause for everybody, and without one an error that passes', async (t) => {
  const rig = await openRig(t, { faults: { status: 503, retryAfter: '7' } })
  await assert.rejects(rig.open({ start: 0 }, basic('alice', 'secret')), (error) => {
    assert.equal((error as ShoalError).code, 'ORIGIN_RATE_LIMITED')
    return Number((error as ShoalError).detail?.retryAfterMs) > 6_000
  })
  assert.equal(rig.registry.requests.length, 1, 'nor as the client')
  const down = await openRig(t, { faults: { status: 503 } })
  await assert.rejects(down.open(), withCode('ORIGIN_FAILED'))
  await assert.rejects(down.open(), withCode('ORIGIN_FAILED'))
  assert.equal(down.registry.requests.length, 2)
})

test('a token server that limits requests spares itself and its registry the next', async (t) => {
  const limited = { status: 429, headers: { 'retry-after': '20' } }
  await using server = await openTokenServer({ answer: () => limited })
  const rig = await openRig(t, { faults: { auth: { type: 'bearer', server, lets: () => true } } })
  await assert.rejects(rig.open(), withCode('ORIGIN_RATE_LIMITED'))
  await assert.rejects(rig.open(), (error) => Number((error as ShoalError).detail?.retryAfterMs) > 15_000)
  assert.equal(server.requests.length, 1)
  assert.equal(rig.registry.requests.length, 1)
})

test('a ping that meets a limit is a limit for everything else too', async (t) => {
  const rig = await openRig(t, { faults: { status: 429, retryAfter: '30' } })
  await assert.rejects(rig.origin.challenge({ registry: 'docker.io' }, rig), withCode('ORIGIN_RATE_LIMITED'))
  await assert.rejects(rig.open(), withCode('ORIGIN_RATE_LIMITED'))
  assert.equal(rig.registry.requests.length, 1)
})

test('requests that wait for their place when the limit is met are not sent', async (t) => {
  const rig = await openRig(t, { faults: { status: 429, retryAfter: '30' }, requests: new Map([['*', 2]]) })
  const all = await Promise.allSettled(Array.from({ length: 20 }, () => rig.open()))
  assert.ok(all.every((one) => one.status === 'rejected' && one.reason.code === 'ORIGIN_RATE_LIMITED'))
  assert.ok(rig.registry.requests.length <= 2, `${rig.registry.requests.length} requests`)
})

test('the zone is told of a limit once, as far as it concerns others, and for a minute at most', async (t) => {
  const told: OriginPause[] = []
  const onPause = (pause: OriginPause) => told.push(pause)
  const faults = { status: 429, retryAfter: '3600', every: 2 }
  const rig = await openRig(t, { faults, onPause })
  await collect(await rig.open({ start: 0 }, basic('alice', 'secret')))
  await assert.rejects(rig.open(), withCode('ORIGIN_RATE_LIMITED'))
  assert.deepEqual(told.splice(0), [{ type: 'pause', origin: 'docker.io', who: 'nobody', retryAfterMs: 60_000 }])
  await assert.rejects(rig.open({ start: 0 }, basic('bob', 'secret')), withCode('ORIGIN_RATE_LIMITED'))
  assert.deepEqual(told, [], "a client's own limit is its own business")

  const operator = await openRig(t, { faults: { status: 429, retryAfter: '5' }, onPause, login: 'op:secret' })
  await assert.rejects(operator.open(), withCode('ORIGIN_RATE_LIMITED'))
  assert.deepEqual(told.splice(0), [{ type: 'pause', origin: 'docker.io', who: 'operator', retryAfterMs: 5_000 }])

  const busy = await openRig(t, { faults: { status: 503, retryAfter: '5' }, onPause })
  const source = { type: 'url', url: new URL(`${busy.registry.url}/file`) } as const
  await assert.rejects(busy.origin.open(source, busy.layer.digest, { start: 0 }, busy), withCode('ORIGIN_RATE_LIMITED'))
  assert.deepEqual(told, [{ type: 'pause', origin: source.url.host, who: 'everybody', retryAfterMs: 5_000 }])
})

test('an origin that a member of the zone says is limited is not asked, except by clients in their own name', async (t) => {
  const rig = await openRig(t)
  rig.origin.heed('member', { type: 'pause', origin: 'docker.io', who: 'nobody', retryAfterMs: 30_000 })
  await assert.rejects(rig.open(), withCode('ORIGIN_RATE_LIMITED'))
  const tag = { registry: 'docker.io', repository: 'library/app', tag: 'v1' }
  await assert.rejects(rig.origin.resolveTag(tag, rig), withCode('ORIGIN_RATE_LIMITED'))
  assert.equal(rig.registry.requests.length, 0)
  const [paused] = rig.origin.paused()
  assert.deepEqual([paused?.origin, paused?.who, paused?.author], ['docker.io', 'nobody', 'member'])
  assert.ok((paused?.forMs ?? 0) > 29_000)
  await collect(await rig.open({ start: 0 }, basic('alice', 'secret')))
  rig.origin.heed('another', { type: 'pause', origin: 'docker.io', who: 'everybody', retryAfterMs: 30_000 })
  await assert.rejects(rig.open({ start: 0 }, basic('alice', 'secret')), withCode('ORIGIN_RATE_LIMITED'))
})
