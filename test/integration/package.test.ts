import assert from 'node:assert/strict'
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { startDaemon } from '../helpers/daemon.ts'
import { run } from '../helpers/program.ts'
import { tmp } from '../helpers/tmp.ts'

const ROOT = new URL('../..', import.meta.url).pathname
const TSC = join(ROOT, 'node_modules/typescript/bin/tsc')

/** A user's program: runs, and is checked against the types. */
const CONSUMER = `import { openNode, type ShoalNode } from 'shoal'

await using node: ShoalNode = await openNode({ dataDir: process.argv[2] as string, dht: false, gossip: false })
const { digest } = await node.add(new TextEncoder().encode('bladderwrack'))
const chunks: Uint8Array[] = []
for await (const bytes of await node.fetch(digest)) chunks.push(bytes)
console.log(Buffer.concat(chunks).toString())
// @ts-expect-error: a peer id is no number, so these are real types
const wrong: number = node.peerId
`

test('the package as published runs with what it declares: the command, the daemon, the library and its types', async (t) => {
  const dir = await tmp(t)
  const shoal = await install(dir)
  const bin = join(shoal, 'dist/src/cli/bin.js')
  const { version } = JSON.parse(await readFile(join(shoal, 'package.json'), 'utf8')) as { version: string }
  assert.equal((await run(process.execPath, [bin, '--version'])).trim(), version)

  const daemon = await startDaemon(t, { dataDir: join(dir, 'daemon'), main: bin })
  assert.equal((await daemon.status()).store.path, join(dir, 'daemon'))
  assert.equal(await daemon.stop(), 0)

  const consumer = join(dir, 'consumer.ts')
  await writeFile(consumer, CONSUMER)
  await writeFile(join(dir, 'package.json'), '{ "type": "module" }')
  assert.equal((await run(process.execPath, [consumer, join(dir, 'library')])).trim(), 'bladderwrack')
  const strict = ['--noEmit', '--strict', '--target', 'esnext', '--module', 'nodenext', '--types', 'node']
  await run(process.execPath, [TSC, '--ignoreConfig', ...strict, consumer])
})

/** Packs (which builds) and unpacks, with the declared dependencies and no others in reach. @returns where it is */
async function install(dir: string): Promise<string> {
  const env = { npm_config_offline: 'true', npm_config_update_notifier: 'false' }
  await run('npm', ['--prefix', ROOT, 'pack', ROOT, '--pack-destination', dir], { env })
  const shoal = join(dir, 'node_modules/shoal')
  await mkdir(shoal, { recursive: true })
  const { version, dependencies } = JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as Manifest
  await run('tar', ['-xzf', join(dir, `shoal-${version}.tgz`), '-C', shoal, '--strip-components=1'])
  for (const name of [...Object.keys(dependencies), '@types/node']) {
    const link = join(dir, 'node_modules', name)
    await mkdir(dirname(link), { recursive: true })
    await symlink(join(ROOT, 'node_modules', name), link)
  }
  return shoal
}

type Manifest = { readonly version: string; readonly dependencies: Readonly<Record<string, string>> }
