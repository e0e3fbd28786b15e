import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ShoalError } from '../../protocols/error.ts'
import { CoolDowns } from '../../src/origin/cool-down.ts'
import { basic } from '../helpers/faulty-origin.ts'
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

test('a cool-down ends by itself, and a longer one is not shortened', () => {
  const coolDowns = new CoolDowns()
  coolDowns.start('a', 1_000, 0)
  coolDowns.start('a', 10, 5)
  assert.throws(() => coolDowns.check('a', 'a', 999), withCode('ORIGIN_RATE_LIMITED'))
  coolDowns.check('b', 'b', 0)
  coolDowns.check('a', 'a', 1_000)
})
