import assert from 'node:assert/strict'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { createImage } from '../../examples/demo/image.ts'
import { digestOf } from '../../protocols/digest.ts'
import { startDaemon, startMesh } from '../helpers/daemon.ts'
import { dockerRegistryMissing, startDockerRegistry } from '../helpers/docker-registry.ts'
import { missingPrograms, run, serve } from '../helpers/program.ts'
import { tmp } from '../helpers/tmp.ts'
import { until } from '../helpers/until.ts'

const MiB = 1024 * 1024
const image = createImage({ seed: 'clients', layerBytes: [6 * MiB, 1 * MiB, 70_000] })

test('skopeo copies an image through the mirror, with the registry in the path, and from a peer when the registry is gone', {
  skip: skip('skopeo'),
}, async (t) => {
  const dir = await tmp(t)
  await using registry = await startDockerRegistry({ dir: join(dir, 'registry') })
  await registry.push('library/app', 'v1', image)
  const [a, b] = (await startMesh(t, 2, dir, { upstreams: [`reg.test=${registry.url}`] })) as [Daemon, Daemon]
  await skopeoCopy(a, 'reg.test/library/app:v1', join(dir, 'from-a'))
  await registry.stop()
  await skopeoCopy(b, 'reg.test/library/app:v1', join(dir, 'from-b'))
  for (const from of ['from-a', 'from-b']) assert.equal(await copiedManifest(join(dir, from)), image.manifest.digest.toString())
})

test('skopeo pulls a short name through the default upstream', { skip: skip('skopeo') }, async (t) => {
  const dir = await tmp(t)
  await using registry = await startDockerRegistry({ dir: join(dir, 'registry') })
  await registry.push('library/app', 'v1', image)
  const flags = ['--default-upstream', 'reg.test']
  const daemon = await startDaemon(t, { dataDir: join(dir, 'node'), upstreams: [`reg.test=${registry.url}`], flags })
  await skopeoCopy(daemon, 'library/app:v1', join(dir, 'copy'))
  assert.equal(await copiedManifest(join(dir, 'copy')), image.manifest.digest.toString())
})

test('skopeo pulls a private image with its own password, and nobody gets it without', { skip: skip('skopeo') }, async (t) => {
  const dir = await tmp(t)
  await using registry = await startDockerRegistry({ dir: join(dir, 'registry'), auth: true })
  await registry.push('team/secret', 'v1', image)
  const daemon = await startDaemon(t, {
    dataDir: join(dir, 'node'),
    upstreams: [`reg.test=${registry.url}`],
    flags: ['--default-upstream', 'reg.test'],
  })
  await skopeoCopy(daemon, 'team/secret:v1', join(dir, 'copy'), ['--src-creds', 'kelp:bladderwrack'])
  for (const path of [`manifests/v1`, `manifests/${image.manifest.digest}`, `blobs/${image.config.digest}`]) {
    const { status } = await fetch(`${daemon.mirror}/v2/team/secret/${path}`, { headers: { accept: '*/*' } })
    assert.equal(status, 401, path)
  }
  await assert.rejects(skopeoCopy(daemon, 'team/secret:v1', join(dir, 'stolen'), ['--src-creds', 'kelp:wrong']))
})

test('containerd pulls through a hosts directory, which sends ?ns=', { skip: skip('containerd', 'ctr') }, async (t) => {
  const dir = await tmp(t)
  await using registry = await startDockerRegistry({ dir: join(dir, 'registry') })
  await registry.push('team/app', 'v1', image)
  const [a, b] = (await startMesh(t, 2, dir, { upstreams: [`reg.test=${registry.url}`] })) as [Daemon, Daemon]
  const address = await startContainerd(t, dir)
  await ctrPull(address, dir, a)
  await run('ctr', ['--address', address, 'images', 'rm', '--sync', 'reg.test/team/app:v1'])
  await registry.stop()
  await ctrPull(address, dir, b)
  const images = await run('ctr', ['--address', address, 'images', 'ls'])
  assert.match(images, new RegExp(String(image.manifest.digest)))
  assert.ok((await b.metric('shoal_download_bytes_total{source="peer"}')) > 6 * MiB)
})

test('podman pulls through the mirror', { skip: skip('podman') }, async (t) => {
  const dir = await tmp(t)
  await using registry = await startDockerRegistry({ dir: join(dir, 'registry') })
  await registry.push('team/app', 'v1', image)
  const daemon = await startDaemon(t, { dataDir: join(dir, 'node'), upstreams: [`reg.test=${registry.url}`] })
  const policy = join(dir, 'policy.json')
  await writeFile(policy, JSON.stringify({ default: [{ type: 'insecureAcceptAnything' }] }))
  const places = ['--root', join(dir, 'root'), '--runroot', join(dir, 'run'), '--storage-driver', 'vfs']
  const name = `${daemon.mirror.slice('http://'.length)}/reg.test/team/app:v1`
  await run('podman', [...places, 'pull', '--tls-verify=false', '--signature-policy', policy, name])
  const digest = (await run('podman', [...places, 'image', 'inspect', '--format', '{{.Digest}}', name])).trim()
  assert.equal(digest, image.manifest.digest.toString())
})

type Daemon = Awaited<ReturnType<typeof startDaemon>>

function skip(...programs: string[]): string | false {
  return dockerRegistryMissing() ?? missingPrograms(...programs) ?? false
}

async function skopeoCopy(daemon: Daemon, name: string, to: string, flags: readonly string[] = []): Promise<void> {
  const from = `docker://${daemon.mirror.slice('http://'.length)}/${name}`
  await run('skopeo', ['--insecure-policy', 'copy', '--src-tls-verify=false', ...flags, from, `dir:${to}`])
}

/** The digest of the manifest that skopeo wrote, byte for byte as it got it. */
async function copiedManifest(dir: string): Promise<string> {
  return String(digestOf(await readFile(join(dir, 'manifest.json'))))
}

/** A containerd of the test's own. @returns its socket */
async function startContainerd(t: Parameters<typeof serve>[0], dir: string): Promise<string> {
  const address = join(dir, 'containerd.sock')
  const config = join(dir, 'containerd.toml')
  const lines = [
    'version = 2',
    `root = "${join(dir, 'c-root')}"`,
    `state = "${join(dir, 'c-state')}"`,
    'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
    '[grpc]',
    `address = "${address}"`,
  ]
  await writeFile(config, `${lines.join('\n')}\n`)
  const { output } = serve(t, 'containerd', ['--config', config])
  await until(
    `containerd serves: ${output()}`,
    () =>
      run('ctr', ['--address', address, 'version']).then(
        () => true,
        () => false,
      ),
    20_000,
  )
  return address
}

async function ctrPull(address: string, dir: string, daemon: Daemon): Promise<void> {
  const hosts = join(dir, 'hosts', 'reg.test')
  await mkdir(hosts, { recursive: true })
  // no other host: a pull that the mirror can't serve fails
  await writeFile(
    join(hosts, 'hosts.toml'),
    `server = "${daemon.mirror}"\n[host."${daemon.mirror}"]\n  capabilities = ["pull", "resolve"]\n`,
  )
  await run('ctr', [
    '--address',
    address,
    'images',
    'pull',
    '--snapshotter',
    'native',
    '--hosts-dir',
    join(dir, 'hosts'),
    'reg.test/team/app:v1',
  ])
}
