import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { test } from 'node:test'
import { ShoalError } from '../../src/errors.ts'
import { CHALLENGE, manifestOf, OCI_MANIFEST, push } from './fake-upstream.ts'
import { errorCode, type Got, rig } from './rig.ts'

const NS = '?ns=reg.example'
const OWNER = { authorization: 'Bearer owner' }
const STRANGER = { authorization: 'Bearer stranger' }

/** A mirror that holds a private image, pulled by its owner. */
async function privateImage(t: Parameters<typeof rig>[0], options: Parameters<typeof rig>[1] = {}) {
  const made = await rig(t, options)
  const repository = made.node.upstream.repository('reg.example/team/app', { wants: OWNER.authorization })
  const bytes = randomBytes(200_000)
  const blob = push(repository, bytes)
  const manifest = push(repository, manifestOf('private'), { mediaType: OCI_MANIFEST, tag: 'v1' })
  const paths = [
    `/v2/team/app/blobs/${blob}${NS}`,
    `/v2/team/app/manifests/${manifest}${NS}`,
    `/v2/team/app/manifests/v1${NS}`,
  ] as const
  for (const path of paths) assert.equal((await made.get(path, OWNER)).status, 200)
  made.node.upstream.calls.length = 0
  return { ...made, repository, bytes, blob, manifest, paths }
}

function assertRefused(got: Got, path: string): void {
  assert.equal(got.status, 401, path)
  assert.equal(got.headers['www-authenticate'], CHALLENGE)
  assert.equal(got.headers['docker-content-digest'], undefined)
  assert.equal(got.headers.etag, undefined)
}

test('private content that is held is served to its owner again, and upstream is asked once', async (t) => {
  const { get, paths, node, bytes } = await privateImage(t)
  for (let round = 0; round < 3; round++) {
    for (const path of paths) assert.equal((await get(path, OWNER)).status, 200)
  }
  const got = await get(paths[0], OWNER)
  assert.ok(got.body.equals(bytes))
  assert.equal(got.headers['cache-control'], 'private, max-age=31536000, immutable')
  assert.equal(node.upstream.count('permits'), 0)
})

test('private content that is held is shown to nobody else: not by GET, HEAD, ranges, or validators, and upstream’s challenge is passed on', async (t) => {
  const { get, head, paths, blob, manifest, node } = await privateImage(t)
  for (const who of [{}, STRANGER] as Record<string, string>[]) {
    for (const path of paths) {
      assertRefused(await get(path, who), path)
      assertRefused(await head(path, who), path)
      assertRefused(await get(path, { ...who, range: 'bytes=0-' }), path)
      assertRefused(await get(path, { ...who, range: 'bytes=100-200' }), path)
      assertRefused(await get(path, { ...who, range: 'bytes=999999999-' }), path)
      assertRefused(await get(path, { ...who, 'if-none-match': `"${blob}", "${manifest}"` }), path)
      assertRefused(await get(path, { ...who, 'if-none-match': '*' }), path)
    }
  }
  assert.equal(node.openBlobs, 0)
})

test('a later range of a private blob is not shown to a stranger although its size is known, nor when it is held no more', async (t) => {
  const { get, paths, node } = await privateImage(t)
  assert.equal((await get(paths[0], { ...OWNER, range: 'bytes=0-' })).status, 206)
  assert.equal((await get(paths[0], { ...OWNER, range: 'bytes=1000-' })).status, 206)
  assertRefused(await get(paths[0], { range: 'bytes=1000-' }), paths[0])
  node.held.clear()
  assertRefused(await get(paths[0], { range: 'bytes=1000-' }), paths[0])
})

test('where upstream says 403 or 404 to a stranger, so does the mirror', async (t) => {
  for (const [refusal, status, code] of [
    ['ORIGIN_FORBIDDEN', 403, 'DENIED'],
    ['ORIGIN_NOT_FOUND', 404, 'BLOB_UNKNOWN'],
  ] as const) {
    const { node, get } = await rig(t)
    const blob = push(node.upstream.repository('reg.example/team/app', { wants: OWNER.authorization, refusal }), 'secret')
    const path = `/v2/team/app/blobs/${blob}${NS}`
    assert.equal((await get(path, OWNER)).status, 200)
    const got = await get(path, STRANGER)
    assert.equal(got.status, status)
    assert.equal(errorCode(got), code)
  }
})

test('what upstream permits is remembered for minutes, what it refuses for seconds, each for one client only', async (t) => {
  let clock = 0
  const { get, paths, node, repository } = await privateImage(t, { now: () => clock })
  node.upstream.calls.length = 0
  const path = paths[0]
  const asked = async (who: Record<string, string>, status: number) => {
    const before = node.upstream.count('permits')
    assert.equal((await get(path, who)).status, status)
    return node.upstream.count('permits') - before
  }
  assert.equal(await asked({}, 401), 1)
  assert.equal(await asked({}, 401), 0)
  assert.equal(await asked(STRANGER, 401), 1)
  clock = 11_000
  assert.equal(await asked({}, 401), 1)
  node.upstream.repositories.set('reg.example/team/app', { ...repository, wants: STRANGER.authorization })
  assert.equal(await asked(STRANGER, 200), 1)
  assert.equal(await asked(STRANGER, 200), 0)
  clock += 4 * 60_000
  assert.equal(await asked(STRANGER, 200), 0)
  clock += 2 * 60_000
  node.upstream.repositories.set('reg.example/team/app', repository)
  assert.equal(await asked(STRANGER, 401), 1)
})

test('when upstream can not be asked, private content stays with those it was shown to lately', async (t) => {
  const { get, paths, node } = await privateImage(t)
  assert.equal((await get(paths[0], OWNER)).status, 200)
  node.upstream.failure = new ShoalError('ORIGIN_UNREACHABLE', 'down')
  assert.equal((await get(paths[0], OWNER)).status, 200)
  assert.equal((await get(paths[0], {})).status, 404)
  assert.equal((await get(paths[0], STRANGER)).status, 404)
})

test('a stranger who joins the owner’s download gets nothing of it', async (t) => {
  const { node, get } = await rig(t)
  const blob = push(node.upstream.repository('reg.example/team/app', { wants: OWNER.authorization }), randomBytes(1000))
  const path = `/v2/team/app/blobs/${blob}${NS}`
  const [importing, mayEnd] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  node.duringImport = async () => {
    importing.resolve()
    await mayEnd.promise
  }
  const owner = get(path, OWNER)
  await importing.promise
  const stranger = get(path, {})
  const other = get(path, STRANGER)
  setImmediate(() => mayEnd.resolve())
  assert.equal((await owner).status, 200)
  assertRefused(await stranger, path)
  assertRefused(await other, path)
  assert.equal(node.openBlobs, 0)
})

test('a body is cut before the first piece that needed another client’s credentials', async (t) => {
  const { node, get } = await rig(t)
  const bytes = randomBytes(300_000)
  const blob = push(node.upstream.repository('reg.example/team/app', { wants: OWNER.authorization }), bytes)
  const held: { bytes: Uint8Array; meta: { restrictedTo?: string[] } } = { bytes, meta: {} }
  node.held.set(String(blob), held)
  node.beforePiece = async (index) => {
    if (index === 2) held.meta = { restrictedTo: ['reg.example/team/app'] }
  }
  const got = await get(`/v2/team/app/blobs/${blob}${NS}`)
  assert.equal(got.status, 200)
  assert.equal(got.complete, false)
  assert.ok(got.body.length <= 2 * 64 * 1024)
})

test('a manifest that turns out private while it is read is not sent', async (t) => {
  const { node, get } = await rig(t)
  const text = manifestOf('secret')
  const manifest = push(node.upstream.repository('reg.example/team/app', { wants: OWNER.authorization }), text)
  const held: { bytes: Uint8Array; meta: { restrictedTo?: string[] } } = { bytes: Buffer.from(text), meta: {} }
  node.held.set(String(manifest), held)
  node.beforePiece = async () => {
    held.meta = { restrictedTo: ['reg.example/team/app'] }
  }
  const path = `/v2/team/app/manifests/${manifest}${NS}`
  assertRefused(await get(path), path)
})

test('another repository of the same registry is asked for its own say', async (t) => {
  const { node, get, blob, bytes } = await privateImage(t)
  push(node.upstream.repository('reg.example/public/base'), bytes)
  node.upstream.repository('reg.example/public/other')
  assert.equal((await get(`/v2/public/base/blobs/${blob}${NS}`)).status, 200)
  assert.equal((await get(`/v2/public/other/blobs/${blob}${NS}`)).status, 404)
})

test('a registry that merely says it has private content of another is not believed', async (t) => {
  const { node, get, blob, manifest } = await privateImage(t)
  const evil = node.upstream.repository('evil.example/x/y', { liesInHead: true })
  evil.tags.set('v1', manifest)
  evil.content.set(String(manifest), { bytes: randomBytes(10), mediaType: OCI_MANIFEST })
  evil.content.set(String(blob), { bytes: randomBytes(200_000), mediaType: undefined })
  for (const path of [`blobs/${blob}`, `manifests/${manifest}`, 'manifests/v1']) {
    const got = await get(`/v2/x/y/${path}?ns=evil.example`, OWNER)
    assert.ok(got.status >= 400, path)
    assert.ok(!got.body.includes('private'))
  }
})

test('nor is it believed when its own name stands among those the content came from', async (t) => {
  const { node, get, blob } = await privateImage(t)
  node.upstream.repository('evil.example/x/y', { liesInHead: true })
  const held = node.held.get(String(blob))
  assert.ok(held !== undefined)
  held.meta = { restrictedTo: ['evil.example/x/y', 'reg.example/team/app'] }
  assert.equal((await get(`/v2/x/y/blobs/${blob}?ns=evil.example`)).status, 404)
})

test('a registry that gives the same bytes to anybody proves that it has them, once', async (t) => {
  const { node, get, blob, bytes } = await privateImage(t)
  push(node.upstream.repository('docker.io/library/debian'), bytes)
  node.upstream.calls.length = 0
  for (let round = 0; round < 3; round++) {
    const got = await get(`/v2/library/debian/blobs/${blob}?ns=docker.io`)
    assert.equal(got.status, 200)
    assert.ok(got.body.equals(bytes))
  }
  assert.equal(node.upstream.count('open'), 1)
  assert.equal(node.upstream.count('permits'), 1)
})

test('what a private tag means is told to its owner only, however lately it was asked', async (t) => {
  const { node, get, head, paths } = await privateImage(t)
  const path = paths[2]
  assert.equal((await head(path, OWNER)).status, 200)
  assert.equal(node.upstream.count('resolveTag'), 0)
  assertRefused(await head(path), path)
  assertRefused(await get(path, STRANGER), path)
  assert.equal(node.upstream.count('resolveTag'), 2)
})

test('a stale private tag is served to its owner, and to nobody else', async (t) => {
  let clock = 0
  const { node, get, head, paths, manifest } = await privateImage(t, { now: () => clock, wallClock: () => clock })
  node.upstream.failure = new ShoalError('ORIGIN_UNREACHABLE', 'down')
  clock = 61_000
  const owners = await head(paths[2], OWNER)
  assert.equal(owners.status, 200)
  assert.equal(owners.headers['docker-content-digest'], String(manifest))
  assert.ok(owners.headers.warning?.startsWith('299 - "'))
  for (const who of [{}, STRANGER] as Record<string, string>[]) {
    const got = await get(paths[2], who)
    assert.equal(got.status, 404)
    assert.equal(got.headers['docker-content-digest'], undefined)
  }
})

test('clients with different credentials never share one question about a tag', async (t) => {
  const { node, get } = await rig(t)
  push(node.upstream.repository('reg.example/team/app', { wants: OWNER.authorization }), manifestOf('x'), {
    mediaType: OCI_MANIFEST,
    tag: 'v1',
  })
  const path = `/v2/team/app/manifests/v1${NS}`
  const all = await Promise.all([get(path, OWNER), get(path), get(path, STRANGER), get(path, OWNER), get(path)])
  assert.deepEqual(
    all.map((got) => got.status),
    [200, 401, 401, 200, 401],
  )
  assert.equal(node.upstream.count('resolveTag'), 3)
})

test('a peer’s word on a tag opens nothing that is held here as private', async (t) => {
  const { node, get, manifest } = await privateImage(t)
  node.records.clear()
  node.upstream.failure = new ShoalError('ORIGIN_UNREACHABLE', 'down')
  const answer = { known: true, digest: manifest, mediaType: OCI_MANIFEST, size: 10, ageMs: 1000 } as const
  node.vouched.set('reg.example/team/app:v1', answer)
  const got = await get(`/v2/team/app/manifests/v1${NS}`, STRANGER)
  assert.equal(got.status, 404)
  assert.ok(!got.body.includes('private'))
})

test('tags lists go upstream with each client’s own credentials, always', async (t) => {
  const { node, get } = await privateImage(t)
  const page = () => ({
    status: 200,
    headers: {},
    body: (async function* () {
      yield Buffer.from('{"tags":["secret"]}')
    })(),
  })
  node.upstream.relayed = page()
  assert.equal((await get(`/v2/team/app/tags/list${NS}`, OWNER)).status, 200)
  node.upstream.relayed = { status: 401, headers: { 'www-authenticate': CHALLENGE }, body: (async function* () {})() }
  assertRefused(await get(`/v2/team/app/tags/list${NS}`), 'tags/list')
  assert.deepEqual(
    node.upstream.calls.map((c) => c.authorization),
    [OWNER.authorization, undefined],
  )
})

test('on a node that is declared shared, everybody gets what is held, without a question', async (t) => {
  const { node, get, paths } = await privateImage(t, { shared: true })
  assert.equal((await get(paths[0])).status, 200)
  assert.equal((await get(paths[1], STRANGER)).status, 200)
  assert.equal(node.upstream.calls.length, 0)
})

test('credentials are in no log line and no answer', async (t) => {
  const lines: string[] = []
  const write = (...args: unknown[]) => lines.push(JSON.stringify(args))
  const log = {
    trace: write,
    debug: write,
    info: write,
    warn: write,
    error: write,
  } as unknown as import('../../src/telemetry/log.ts').Log
  const { node, get, paths } = await privateImage(t, { log })
  const secret = { authorization: 'Basic dXNlcjpodW50ZXIy' }
  for (const path of paths) assert.ok(!JSON.stringify((await get(path, secret)).headers).includes('dXNlcjpodW50ZXIy'))
  await get('/v2/Bad/manifests/x?ns=reg.example&token=hunter2', secret)
  node.upstream.failure = new ShoalError('ORIGIN_UNREACHABLE', 'down')
  await get(`/v2/team/none/manifests/v1${NS}`, secret)
  assert.ok(lines.length >= 4)
  assert.ok(!lines.some((line) => /dXNlcjpodW50ZXIy|hunter2|Bearer/.test(line)))
})
