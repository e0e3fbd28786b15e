import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { access, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { promisify } from 'node:util'
import { type Digest, digestOf } from '../../protocols/digest.ts'
import { type Descriptor, parseImageDocument, pickManifest } from '../../src/cli/image.ts'
import { hostPlatform, parsePlatform } from '../../src/cli/platform.ts'
import { ShoalError } from '../../src/errors.ts'
import type { FakeNode } from '../control/fake-node.ts'
import { openTestControl } from '../control/harness.ts'
import { runShoal } from './run-shoal.ts'

const INDEX = 'application/vnd.oci.image.index.v1+json'
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json'
const DIGEST = `sha256:${'0'.repeat(64)}`

function offer(node: FakeNode, content: string | object, mediaType: string) {
  const bytes = Buffer.from(typeof content === 'string' ? content : JSON.stringify(content))
  const digest = digestOf(bytes)
  node.origin.set(String(digest), { bytes, meta: { mediaType } })
  return { mediaType, digest: String(digest), size: bytes.length }
}

/** An image for each of the architectures, behind one tag. */
function offerImage(node: FakeNode, architectures: readonly string[]): Digest {
  const manifests = architectures.map((architecture) => {
    const config = { architecture, os: 'linux', rootfs: { type: 'layers', diff_ids: [] }, config: {} }
    const manifest = {
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: offer(node, config, 'application/vnd.oci.image.config.v1+json'),
      layers: ['one', 'two'].map((name) => offer(node, `${architecture} ${name}`, 'application/vnd.oci.image.layer.v1.tar')),
    }
    return { ...offer(node, manifest, MANIFEST), platform: { os: 'linux', architecture } }
  })
  const index = offer(node, { schemaVersion: 2, mediaType: INDEX, manifests }, INDEX)
  const digest = digestOf(node.origin.get(index.digest)?.bytes as Uint8Array)
  node.tags.set('a.example/app:v1', digest)
  return digest
}

async function folder(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-image-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  return join(dir, 'layout')
}

async function skopeo(...args: string[]): Promise<string | undefined> {
  if (
    !(await access('/usr/bin/skopeo').then(
      () => true,
      () => false,
    ))
  )
    return undefined
  return (await promisify(execFile)('skopeo', args)).stdout
}

test('a registry reference brings the whole image of this platform into the node', async (t) => {
  const { node, control } = await openTestControl(t)
  const digest = offerImage(node, [hostPlatform().architecture, 's390x'])
  const ran = await runShoal(['get', 'a.example/app:v1', '--json', '--control', control.address])
  assert.equal(ran.code, 0, ran.stderr)
  const image = JSON.parse(String(ran.stdout))
  assert.deepEqual([image.reference, image.blobs.length], ['a.example/app:v1', 4])
  for (const blob of image.blobs) assert.ok(node.blobs.has(blob.digest), blob.digest)
  assert.ok(node.blobs.has(String(digest)), 'the index is held too')
  assert.equal(node.blobs.size, 5)
})

test('with -o it becomes an OCI layout that other tools read', async (t) => {
  const { node, control } = await openTestControl(t)
  offerImage(node, ['amd64', 'arm64'])
  const dir = await folder(t)
  const ran = await runShoal(['get', 'a.example/app:v1', '--platform', 'linux/arm64', '-o', dir, '--control', control.address])
  assert.equal(ran.code, 0, ran.stderr)
  const index = JSON.parse(await readFile(join(dir, 'index.json'), 'utf8'))
  assert.equal(index.manifests.length, 1)
  assert.equal(index.manifests[0].annotations['org.opencontainers.image.ref.name'], 'v1')
  assert.equal(await readFile(join(dir, 'oci-layout'), 'utf8'), '{"imageLayoutVersion":"1.0.0"}\n')
  const manifest = await skopeo('inspect', '--raw', `oci:${dir}:v1`)
  if (manifest !== undefined) assert.equal(String(digestOf(Buffer.from(manifest))), index.manifests[0].digest)
  const config = await skopeo('inspect', '--config', '--raw', '--override-arch', 'arm64', `oci:${dir}:v1`)
  if (config !== undefined) assert.equal(JSON.parse(config).architecture, 'arm64')
})

test('all platforms together keep their index', async (t) => {
  const { node, control } = await openTestControl(t)
  const digest = offerImage(node, ['amd64', 'arm64', 's390x'])
  const dir = await folder(t)
  const ran = await runShoal(['get', 'a.example/app:v1', '--all-platforms', '-o', dir, '--json', '--control', control.address])
  assert.equal(JSON.parse(String(ran.stdout)).blobs.length, 1 + 3 * 4, ran.stderr)
  assert.equal(JSON.parse(await readFile(join(dir, 'index.json'), 'utf8')).manifests[0].digest, String(digest))
  const copied = await skopeo('copy', '--all', '--preserve-digests', `oci:${dir}:v1`, `oci:${dir}-copy:v1`)
  if (copied !== undefined)
    assert.equal(JSON.parse(await readFile(join(`${dir}-copy`, 'index.json'), 'utf8')).manifests[0].digest, String(digest))
})

test('an image that does not exist for the platform is not found, and the ones there are get named', async (t) => {
  const { node, control } = await openTestControl(t)
  offerImage(node, ['amd64', 'arm64'])
  const ran = await runShoal(['get', 'a.example/app:v1', '--platform', 'windows/amd64', '--control', control.address])
  assert.equal(ran.code, 3)
  assert.match(ran.stderr, /no image for windows\/amd64; there is linux\/amd64, linux\/arm64/)
})

test('a manifest may lack its media type, and what is none is refused', () => {
  const descriptor = { mediaType: 'x/y', digest: DIGEST, size: 1 }
  const manifest = parseImageDocument(Buffer.from(JSON.stringify({ schemaVersion: 2, config: descriptor, layers: [descriptor] })))
  assert.deepEqual([manifest.type, manifest.mediaType], ['manifest', MANIFEST])
  assert.equal(parseImageDocument(Buffer.from(JSON.stringify({ manifests: [descriptor] }))).mediaType, INDEX)
  for (const text of [
    '',
    '[]',
    'null',
    '{}',
    '{"fsLayers":[]}',
    '{"manifests":{}}',
    JSON.stringify({ config: descriptor, layers: [{ ...descriptor, size: -1 }] }),
    JSON.stringify({ config: descriptor, layers: [{ ...descriptor, digest: '../../etc/passwd' }] }),
    JSON.stringify({ manifests: Array.from({ length: 1_001 }, () => descriptor) }),
  ]) {
    assert.throws(
      () => parseImageDocument(Buffer.from(text)),
      (e) => e instanceof ShoalError && e.code === 'ORIGIN_PROTOCOL',
      text,
    )
  }
})

test('the platform that fits best is picked', () => {
  const entry = (text: string): Descriptor => {
    const [os = '', architecture = '', variant] = text.split('/')
    return { mediaType: text, digest: digestOf(Buffer.from(text)), size: 1, platform: { os, architecture, variant } }
  }
  const pick = (offered: string[], wanted: string) => pickManifest(offered.map(entry), parsePlatform(wanted)).mediaType
  assert.equal(pick(['linux/amd64', 'linux/arm64/v8'], 'linux/arm64'), 'linux/arm64/v8')
  assert.equal(pick(['linux/amd64', 'linux/arm64'], 'linux/aarch64/v8'), 'linux/arm64')
  assert.equal(pick(['linux/arm/v5', 'linux/arm/v6'], 'linux/arm'), 'linux/arm/v6')
  assert.equal(pick(['linux/arm/v6', 'linux/arm/v7'], 'linux/arm/v7'), 'linux/arm/v7')
  assert.throws(() => pick(['linux/arm/v7'], 'linux/arm/v6'))
  assert.throws(() => pick(['unknown/unknown'], 'linux/amd64'), /none with a platform/)
  assert.throws(() => parsePlatform('linux'))
})
