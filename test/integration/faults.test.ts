import assert from 'node:assert/strict'
import { open, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { createBlob, createImage, createRandomBlob } from '../../examples/demo/image.ts'
import { runShoal } from '../cli/run-shoal.ts'
import { type DaemonProcess, startDaemon } from '../helpers/daemon.ts'
import { basic, type Faults, openFaultyOrigin } from '../helpers/faulty-origin.ts'
import { get, pullImage } from '../helpers/pull.ts'
import { smallDisk, tmp } from '../helpers/tmp.ts'
import { until } from '../helpers/until.ts'

const MiB = 1024 * 1024

/** A daemon and its registry, which has one blob of 3 MiB and the faults given. */
async function start(t: TestContext, faults: Faults = {}, dataDir?: string) {
  const origin = await openFaultyOrigin()
  t.after(() => origin.close())
  origin.faults = faults
  const blob = createRandomBlob('faults', 3 * MiB)
  origin.addBlob('team/app', blob)
  const upstreams = [`reg.test=${origin.url}`]
  const daemon = await startDaemon(t, { dataDir: dataDir ?? (await tmp(t)), upstreams })
  return { origin, daemon, blob, digest: String(blob.digest), url: blobUrl(daemon, blob.digest) }
}

function blobUrl({ mirror }: DaemonProcess, digest: unknown): string {
  return `${mirror}/v2/reg.test/team/app/blobs/${digest}`
}

function logged(daemon: DaemonProcess, field: string, value: unknown): number {
  return daemon.log.filter((line) => (JSON.parse(line) as Record<string, unknown>)[field] === value).length
}

test('a blob that is larger than the disk streams through, with a line in the log, and the daemon goes on', async (t) => {
  const disk = await smallDisk(t, 24 * MiB)
  if (disk === undefined) return t.diagnostic('this user may not mount a small disk')
  const { origin, daemon } = await start(t, {}, join(disk, 'data'))
  const large = createRandomBlob('larger than the disk', 60 * MiB)
  origin.addBlob('team/app', large)
  const [one, two] = await Promise.all([get(blobUrl(daemon, large.digest)), get(blobUrl(daemon, large.digest))])
  for (const got of [one, two]) assert.deepEqual([got.status, got.digest], [200, String(large.digest)])
  await until('the log says so', () => logged(daemon, 'code', 'STORE_FULL') >= 1)
  assert.ok(logged(daemon, 'code', 'STORE_FULL') <= 3, 'and not one for each piece')
  const small = createRandomBlob('small', 100_000)
  origin.addBlob('team/app', small)
  assert.equal((await get(blobUrl(daemon, small.digest))).digest, String(small.digest))
  assert.equal((await get(blobUrl(daemon, large.digest))).digest, String(large.digest), 'again, from the registry')
  assert.equal((await fetch(`${daemon.control}/readyz`)).status, 200)
  assert.equal(await daemon.stop(), 0)
})

const OVERCOME: Record<string, Faults> = {
  'cuts each connection after 700,000 bytes': { cutAfterBytes: 700_000 },
  'answers every range with the whole': { ranges: false },
  'does not say how long the blob is': { noContentLength: true },
  'resets every other connection': { reset: true, every: 2 },
}

for (const [what, faults] of Object.entries(OVERCOME)) {
  test(`from a registry that ${what}, the client gets the right blob all the same`, async (t) => {
    const { url, digest } = await start(t, faults)
    const got = await get(url)
    assert.deepEqual([got.status, got.digest], [200, digest])
  })
}

test('a registry that fails a third of its requests does not fail a pull', async (t) => {
  const { origin, daemon } = await start(t, { status: 503, every: 3 })
  const image = createImage({ seed: 'third', layerBytes: [100_000, 200_000, 300_000, 400_000, 1_000_000] })
  origin.addImage('team/app', 'v1', image)
  await pullImage(daemon.mirror, 'reg.test', 'team/app', 'v1', image)
})

test('from a registry whose bytes are not what the digest names, no client completes a body, and nothing is kept', async (t) => {
  const { daemon, blob, url } = await start(t, { corruptAt: MiB })
  const got = await get(url).catch(() => 'cut')
  if (got !== 'cut') assert.equal((got as { status: number }).status, 404)
  await until('the log says so', () => daemon.log.some((line) => line.includes('DIGEST_MISMATCH')))
  await until('nothing of it is kept', async () => {
    const { blobs } = (await (await fetch(`${daemon.control}/v1/blobs`)).json()) as { blobs: { digest: string }[] }
    return !blobs.some(({ digest }) => digest === String(blob.digest))
  })
})

test('a manifest whose bytes are not what its digest names is never sent', async (t) => {
  const { origin, daemon } = await start(t, { corruptAt: 10 })
  const image = createImage({ seed: 'manifest', layerBytes: [1000] })
  origin.addImage('team/app', 'v1', image)
  const got = await get(`${daemon.mirror}/v2/reg.test/team/app/manifests/${image.manifest.digest}`)
  assert.equal(got.status, 502)
})

test('a registry that limits its rate is told to the client as it is, and is left alone until the time has passed', async (t) => {
  const { url, origin, digest } = await start(t, { status: 429, retryAfter: '6' })
  const limited = await fetch(url)
  assert.deepEqual([limited.status, limited.headers.get('retry-after')], [429, '6'])
  assert.equal(((await limited.json()) as { errors: { code: string }[] }).errors[0]?.code, 'TOOMANYREQUESTS')
  const asked = origin.requests.length
  assert.equal((await get(url)).status, 429)
  assert.equal(origin.requests.length, asked, 'not asked again before its time')
  origin.faults = {}
  await until('it is asked again', async () => (await get(url)).digest === digest)
})

test('a registry that limits its rate for a moment costs a client that moment, and no error', async (t) => {
  const { url, origin, digest } = await start(t, { status: 429, retryAfter: '1' })
  const pulled = get(url)
  await until('it has been asked', () => origin.requests.length === 1)
  origin.faults = {}
  assert.equal((await pulled).digest, digest)
  const [first, ...others] = origin.requests.map(({ status }) => status)
  assert.equal(first, 429)
  assert.ok(others.length > 0 && others.every((status) => status === 206), `${others}`)
})

test('a registry that hangs holds up nobody else, and is let go when the client goes', async (t) => {
  const { daemon, origin, url } = await start(t, { hang: { afterBytes: 600_000 } })
  const leave = new AbortController()
  const hanging = await fetch(url, { signal: leave.signal })
  const reader = hanging.body?.getReader()
  await reader?.read()
  const other = createBlob(Buffer.from('another'))
  origin.addBlob('team/app', other)
  origin.faults = {}
  assert.equal((await get(blobUrl(daemon, other.digest))).digest, String(other.digest))
  const cut = origin.nextCut()
  leave.abort()
  await cut
  await until('the download has ended', async () => (await daemon.status()).downloads.length === 0)
})

test('a disk that changes a byte costs whoever asks that piece, is no reason for a ban, and the byte comes back by itself', async (t) => {
  const dir = await tmp(t)
  const { daemon, blob, digest, origin, url } = await start(t, {}, dir)
  const upstreams = [`reg.test=${origin.url}`]
  const other = await startDaemon(t, { dataDir: await tmp(t), upstreams, bootstrap: daemon.addresses })
  const third = await startDaemon(t, { dataDir: await tmp(t), bootstrap: daemon.addresses })
  assert.equal((await get(url)).digest, digest)
  await flipOnDisk(join(dir, 'store'), blob.size, 2 * MiB + 12_345)
  assert.equal((await get(blobUrl(other, digest))).digest, digest)
  assert.equal(await other.metric('shoal_pieces_failed_total{where="peer"}'), 1)
  await until('it is mended', () => daemon.log.some((line) => line.includes('was brought in anew')))
  assert.equal(await daemon.metric('shoal_pieces_failed_total{where="disk"}'), 1)
  assert.equal(logged(daemon, 'msg', 'a piece on our own disk was wrong: dropped, to be fetched anew'), 1)
  const { blobs } = (await (await fetch(`${daemon.control}/v1/blobs`)).json()) as { blobs: { complete: boolean }[] }
  assert.deepEqual(
    blobs.map(({ complete }) => complete),
    [true],
  )
  await origin.close()
  assert.equal((await get(`${third.control}/v1/blobs/${digest}`)).digest, digest)
  for (const node of [other, third]) for (const { ban } of await node.peers()) assert.equal(ban, undefined)
})

/** Flips a bit in the one file of that size. */
async function flipOnDisk(dir: string, size: number, at: number): Promise<void> {
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue
    await using file = await open(join(entry.parentPath, entry.name), 'r+')
    if ((await file.stat()).size !== size) continue
    const { buffer } = await file.read(Buffer.alloc(1), 0, 1, at)
    await file.write(Buffer.from([(buffer[0] as number) ^ 1]), 0, 1, at)
    return
  }
  throw new Error(`no file of ${size} bytes in ${dir}`)
}

test('a client’s credentials go to its registry and to no host that it redirects to', async (t) => {
  const storage = await openFaultyOrigin()
  t.after(() => storage.close())
  const login = basic('kelp', 'bladderwrack')
  const { blob, daemon, origin, url, digest } = await start(t, {
    auth: { type: 'basic', username: 'kelp', password: 'bladderwrack' },
    redirect: (path) => (path.includes('/blobs/') ? `${storage.url}${path}` : undefined),
  })
  storage.addBlob('team/app', blob)
  assert.equal((await get(url)).status, 401)
  assert.equal((await get(url, { authorization: login })).digest, digest)
  assert.ok(origin.authorizations.includes(login))
  assert.ok(storage.authorizations.length > 0)
  assert.ok(storage.authorizations.every((value) => value === undefined))
  assert.ok(!daemon.log.join('\n').includes(login.slice('Basic '.length)), 'nor into the log')
  assert.equal((await get(url)).status, 401, 'and what they opened is not shown without them')
})

const BAD_MIRROR: readonly (readonly [path: string, status: number, code: string])[] = [
  ['/v2/reg.test/team/app/blobs/sha256:123', 400, 'DIGEST_INVALID'],
  ['/v2/reg.test/team/app/blobs/md5:d41d8cd98f00b204e9800998ecf8427e', 400, 'DIGEST_INVALID'],
  ['/v2/reg.test/team/app/manifests/-no-tag', 400, 'MANIFEST_INVALID'],
  ['/v2/reg.test/Team/App/manifests/v1', 400, 'NAME_INVALID'],
  ['/v2/team/app/manifests/v1?ns=a&ns=b', 400, 'NAME_INVALID'],
  ['/v2/reg.test/team/app/manifests/nothing', 404, 'MANIFEST_UNKNOWN'],
  [`/v2/reg.test/team/app/blobs/sha256:${'0'.repeat(64)}`, 404, 'BLOB_UNKNOWN'],
  ['/v3/', 404, 'UNSUPPORTED'],
]

const BAD_CONTROL: readonly (readonly [path: string, status: number, code: string])[] = [
  ['/v1/blobs/sha256:123', 400, 'DIGEST_INVALID'],
  [`/v1/blobs/sha256:${'0'.repeat(64)}`, 404, 'BLOB_UNKNOWN'],
  [`/v1/blobs/sha256:${'0'.repeat(64)}?origin=${encodeURIComponent('Not A Reference')}`, 400, 'REFERENCE_INVALID'],
  ['/v1/images/resolve?reference=%20', 400, 'REFERENCE_INVALID'],
]

test('bad input is answered with its code and status on both listeners, and the daemon goes on', async (t) => {
  const { daemon, url, digest } = await start(t)
  for (const [path, status, code] of BAD_MIRROR) {
    const response = await fetch(daemon.mirror + path)
    const { errors } = (await response.json()) as { errors: { code: string }[] }
    assert.deepEqual([path, response.status, errors[0]?.code], [path, status, code])
  }
  for (const [path, status, code] of BAD_CONTROL) {
    const response = await fetch(daemon.control + path)
    const { error } = (await response.json()) as { error: { code: string } }
    assert.deepEqual([path, response.status, error.code], [path, status, code])
  }
  assert.equal((await get(url)).digest, digest)
  for (const to of [url, `${daemon.control}/v1/blobs/${digest}`]) {
    const response = await fetch(to, { headers: { range: `bytes=${100 * MiB}-` } })
    assert.equal(response.status, 416)
    await response.body?.cancel()
  }
  assert.equal((await fetch(`${daemon.control}/healthz`)).status, 200)
})

test('an unknown key in the configuration file is refused by name, with exit code 2', async (t) => {
  const dir = await tmp(t)
  const config = join(dir, 'shoal.yaml')
  await writeFile(config, 'zone: eu/dc1\nmiror: 127.0.0.1:0\n')
  const { code, stderr } = await runShoal(['daemon', '--config', config, '--data-dir', join(dir, 'data')])
  assert.equal(code, 2)
  assert.match(stderr, /unknown key "miror"; did you mean "mirror"\?/)
})

test('a second daemon in the same data directory is refused, and the first goes on', async (t) => {
  const dir = await tmp(t)
  const { url, digest } = await start(t, {}, dir)
  const flags = ['--data-dir', dir, '--mirror', '127.0.0.1:0', '--control', '127.0.0.1:0', '--listen', '/ip4/127.0.0.1/tcp/0']
  const { code, stderr } = await runShoal(['daemon', ...flags])
  assert.equal(code, 8)
  assert.match(stderr, /another daemon/)
  assert.equal((await get(url)).digest, digest)
})
