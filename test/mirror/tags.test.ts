import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ShoalError } from '../../src/errors.ts'
import { manifestOf, OCI_MANIFEST, push } from './fake-upstream.ts'
import { errorCode, rig } from './rig.ts'

const PATH = '/v2/team/app/manifests/v1?ns=reg.example'

async function tagged(t: Parameters<typeof rig>[0], options: Parameters<typeof rig>[1] = {}) {
  const clock = { ms: 1_000_000 }
  const made = await rig(t, { now: () => clock.ms, wallClock: () => clock.ms, ...options })
  const repository = made.node.upstream.repository('reg.example/team/app')
  const digest = push(repository, manifestOf('one'), { mediaType: OCI_MANIFEST, tag: 'v1' })
  return { ...made, clock, repository, digest }
}

test('upstream is asked once in a TTL, by everybody together', async (t) => {
  const { node, head, clock } = await tagged(t)
  const all = await Promise.all(Array.from({ length: 50 }, () => head(PATH)))
  assert.ok(all.every((got) => got.status === 200))
  clock.ms += 59_000
  await head(PATH, { authorization: 'Bearer any' })
  assert.equal(node.upstream.count('resolveTag'), 1)
  clock.ms += 2_000
  await head(PATH)
  assert.equal(node.upstream.count('resolveTag'), 2)
})

test('a tag asked before a restart is still fresh after it', async (t) => {
  const { node, head, clock, digest } = await tagged(t)
  const record = { digest, mediaType: OCI_MANIFEST, size: 9, checkedAt: clock.ms - 1000, restricted: false }
  node.records.set('reg.example/team/app:v1', record)
  assert.equal((await head(PATH)).headers['content-length'], '9')
  assert.equal(node.upstream.count('resolveTag'), 0)
})

test('a record from the future is not believed', async (t) => {
  const { node, head, clock, digest } = await tagged(t)
  const record = { digest, mediaType: OCI_MANIFEST, size: 9, checkedAt: clock.ms + 1000_000, restricted: false }
  node.records.set('reg.example/team/app:v1', record)
  await head(PATH)
  assert.equal(node.upstream.count('resolveTag'), 1)
})

test('one client that leaves does not end the question for the others', async (t) => {
  const { node, head, dial } = await tagged(t)
  const [asked, mayAnswer] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  node.upstream.before = async (call) => {
    if (call !== 'resolveTag') return
    asked.resolve()
    await mayAnswer.promise
  }
  const leaver = await dial()
  leaver.write(`HEAD ${PATH} HTTP/1.1\r\nHost: localhost\r\n\r\n`)
  await asked.promise
  const stays = head(PATH)
  leaver.destroy()
  mayAnswer.resolve()
  assert.equal((await stays).status, 200)
  assert.equal(node.upstream.count('resolveTag'), 1)
})

test('while upstream is down or limits, the last known meaning is served with a warning, and upstream is left alone for a moment', async (t) => {
  for (const code of [
    'ORIGIN_UNREACHABLE',
    'ORIGIN_TIMEOUT',
    'ORIGIN_FAILED',
    'ORIGIN_RATE_LIMITED',
    'ORIGIN_PROTOCOL',
  ] as const) {
    const { node, get, head, clock, digest } = await tagged(t)
    await get(PATH)
    clock.ms += 61_000
    node.upstream.failure = new ShoalError(code, 'no')
    for (const ask of [get, head]) {
      const got = await ask(PATH)
      assert.equal(got.status, 200, code)
      assert.equal(got.headers['docker-content-digest'], String(digest))
      assert.equal(got.headers.warning, '299 - "reg.example does not answer: this tag is as it was 61 s ago"')
    }
    assert.equal(node.upstream.count('resolveTag'), 2)
    node.upstream.failure = undefined
    clock.ms += 11_000
    assert.equal((await head(PATH)).headers.warning, undefined)
  }
})

test('upstream’s own no is passed on and never answered from memory; it is asked again after seconds', async (t) => {
  for (const [code, status] of [
    ['ORIGIN_NOT_FOUND', 404],
    ['ORIGIN_FORBIDDEN', 403],
    ['ORIGIN_UNAUTHORIZED', 401],
  ] as const) {
    const { node, get, clock } = await tagged(t)
    await get(PATH)
    clock.ms += 61_000
    node.upstream.failure = new ShoalError(code, 'no')
    assert.equal((await get(PATH)).status, status)
    assert.equal((await get(PATH)).status, status)
    assert.equal(node.upstream.count('resolveTag'), 2)
    assert.deepEqual(node.questions, [])
    node.upstream.failure = undefined
    clock.ms += 11_000
    assert.equal((await get(PATH)).status, 200)
  }
})

test('a tag that upstream no longer has is forgotten', async (t) => {
  const { node, get, clock, repository } = await tagged(t)
  await get(PATH)
  repository.tags.delete('v1')
  clock.ms += 61_000
  assert.equal((await get(PATH)).status, 404)
  assert.equal(node.records.size, 0)
})

test('with upstream down and nothing remembered, a peer’s word is served with a warning and not recorded', async (t) => {
  const { node, get, head, digest, clock } = await tagged(t)
  node.upstream.failure = new ShoalError('ORIGIN_UNREACHABLE', 'down')
  const text = manifestOf('one')
  node.atPeers.set(String(digest), { bytes: Buffer.from(text), meta: { mediaType: OCI_MANIFEST } })
  const answer = { known: true, digest, mediaType: 'application/lies', size: 1, ageMs: 30_000 } as const
  node.vouched.set('reg.example/team/app:v1', answer)
  for (const ask of [head, get]) {
    const got = await ask(PATH)
    assert.equal(got.status, 200)
    assert.equal(got.headers['content-type'], OCI_MANIFEST)
    assert.equal(got.headers['content-length'], String(text.length))
    assert.equal(got.headers.warning, '299 - "reg.example does not answer: this tag is as peer 12D3KooWPeer saw it 30 s ago"')
  }
  assert.deepEqual(node.questions, [{ registry: 'reg.example', repository: 'team/app', tag: 'v1', maxAgeMs: 0 }])
  assert.equal(node.records.size, 0)
  node.upstream.failure = undefined
  clock.ms += 11_000
  assert.equal((await head(PATH)).headers.warning, undefined)
})

test('a peer’s word for a manifest that nobody has is not promised', async (t) => {
  const { node, head, digest } = await tagged(t)
  node.upstream.failure = new ShoalError('ORIGIN_UNREACHABLE', 'down')
  node.vouched.set('reg.example/team/app:v1', { known: true, digest, mediaType: OCI_MANIFEST, size: 1, ageMs: 0 })
  assert.equal((await head(PATH)).status, 404)
})

test('with nobody who knows the tag, the client is sent on, and the failure is remembered briefly', async (t) => {
  const { node, get, clock } = await tagged(t)
  node.upstream.failure = new ShoalError('ORIGIN_UNREACHABLE', 'down')
  const got = await get(PATH)
  assert.equal(got.status, 404)
  assert.equal(errorCode(got), 'MANIFEST_UNKNOWN')
  await get(PATH)
  assert.equal(node.upstream.count('resolveTag'), 1)
  clock.ms += 3_000
  await get(PATH)
  assert.equal(node.upstream.count('resolveTag'), 2)
})

test('digests are served without upstream', async (t) => {
  const { node, get, digest } = await tagged(t)
  await get(PATH)
  node.upstream.failure = new ShoalError('ORIGIN_UNREACHABLE', 'down')
  node.upstream.calls.length = 0
  assert.equal((await get(`/v2/team/app/manifests/${digest}?ns=reg.example`)).status, 200)
  assert.deepEqual(node.upstream.calls, [])
})

test('what a member of the zone says is served as upstream’s word, for as long as it is young, and not recorded', async (t) => {
  const { node, head, clock, digest } = await tagged(t)
  const told = { digest, mediaType: OCI_MANIFEST, size: 77, usedAuthorization: false, ageMs: 20_000, peerId: 'resolver' }
  node.zone.set('reg.example/team/app:v1', told)
  for (const authorization of [undefined, 'Bearer any']) {
    const got = await head(PATH, authorization === undefined ? {} : { authorization })
    assert.deepEqual([got.status, got.headers['content-length'], got.headers.warning], [200, '77', undefined])
  }
  assert.equal(node.upstream.count('resolveTag'), 0)
  assert.equal(node.records.size, 0)
  node.zone.clear()
  clock.ms += 39_000
  assert.equal((await head(PATH)).headers['content-length'], '77')
  clock.ms += 2_000
  assert.notEqual((await head(PATH)).headers['content-length'], '77')
  assert.equal(node.upstream.count('resolveTag'), 1)
})
