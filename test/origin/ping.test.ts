import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openOrigin } from '../../src/origin/open-origin.ts'
import type { OriginSource } from '../../src/origin/origin.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { basic } from '../helpers/faulty-origin.ts'
import { openRig, REPOSITORY, withCode } from './rig.ts'

const KELP = basic('kelp', 'bladderwrack')
const auth = { type: 'basic', username: 'kelp', password: 'bladderwrack' } as const

test('what a registry asks credentials with at /v2/ is told, to nobody and to who has the wrong ones', async (t) => {
  const { origin, registry, signal } = await openRig(t, { faults: { auth } })
  const ask = (authorization?: string) => origin.challenge({ registry: 'docker.io', authorization }, { signal })
  assert.equal(await ask(), 'Basic realm="test"')
  assert.equal(await ask(basic('kelp', 'wrong')), 'Basic realm="test"')
  assert.equal(await ask(KELP), undefined)
  assert.deepEqual(
    registry.requests.map(({ path }) => path),
    ['/v2/', '/v2/', '/v2/'],
  )
})

test('a registry that is open to all, or to the operator, asks for nothing', async (t) => {
  const open = await openRig(t)
  assert.equal(await open.origin.challenge({ registry: 'docker.io' }, { signal: t.signal }), undefined)
  const operators = await openRig(t, { faults: { auth }, login: 'kelp:bladderwrack' })
  assert.equal(await operators.origin.challenge({ registry: 'docker.io' }, { signal: t.signal }), undefined)
  assert.equal(operators.registry.requests.length, 0)
})

test('a registry that fails, limits or is gone has not said whether it wants credentials', async (t) => {
  const { origin, registry, signal } = await openRig(t, { faults: { status: 503 } })
  const ask = () => origin.challenge({ registry: 'docker.io' }, { signal })
  await assert.rejects(ask(), withCode('ORIGIN_FAILED'))
  await registry.close()
  await assert.rejects(ask(), withCode('ORIGIN_UNREACHABLE'))
  const limited = await openRig(t, { faults: { status: 429 } })
  await assert.rejects(limited.origin.challenge({ registry: 'docker.io' }, { signal }), withCode('ORIGIN_RATE_LIMITED'))
})

test('requests carry who they came through, and this node at the end', async (t) => {
  const { registry, source, layer } = await openRig(t)
  const origin = await openOrigin({
    upstreams: new Map([['docker.io', new URL(registry.url)]]),
    via: '12D3KooWHere',
    log: SILENT,
  })
  t.after(() => origin[Symbol.asyncDispose]())
  const reference = { registry: 'docker.io', repository: REPOSITORY, tag: 'v1' }
  await origin.resolveTag(reference, { signal: t.signal })
  const via = '1.1 12D3KooWThere'
  await origin.resolveTag({ ...reference, via }, { signal: t.signal })
  await origin.permits({ ...source(), via } as OriginSource, layer.digest, { signal: t.signal })
  await origin.challenge({ registry: 'docker.io', via }, { signal: t.signal })
  const chain = '1.1 12D3KooWThere, 1.1 12D3KooWHere'
  assert.deepEqual(registry.vias, ['1.1 12D3KooWHere', chain, chain, chain])
})
