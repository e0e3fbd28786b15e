import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { parse } from 'yaml'
import { CONFIG_KEYS, keyName, readConfig } from '../../src/config.ts'
import { cleanEnv } from '../cli/run-shoal.ts'

const ROOT = new URL('../../', import.meta.url)

async function runExample(name: string): Promise<string> {
  const args = ['--conditions=shoal-source', `examples/${name}/main.ts`]
  const child = spawn(process.execPath, args, { cwd: ROOT, env: cleanEnv(), stdio: ['ignore', 'pipe', 'pipe'] })
  const ended = new Promise<number | null>((resolve, reject) => child.once('error', reject).once('close', resolve))
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), ended])
  assert.equal(code, 0, stderr)
  assert.equal(stderr, '')
  return stdout
}

describe('the example', () => {
  it('01-two-nodes fetches from one node what was added to the other, and ends', async () => {
    const printed = await runExample('01-two-nodes')
    assert.match(printed, /^added sha256:[0-9a-f]{64}, 5000000 bytes\nfetched 5000000 of 5000000 bytes\n5000000 bytes came from /)
  })

  it('02-fetch-from-origin saves the right file, and asks the server once', async () => {
    const printed = await runExample('02-fetch-from-origin')
    assert.equal(
      printed,
      'once.bin: 3000000 bytes, right, requests to the server: 1\nagain.bin: 3000000 bytes, right, requests to the server: 1\n',
    )
  })

  it('03-daemon-config is a configuration that is accepted, and shows every key', async () => {
    const name = 'examples/03-daemon-config/shoal.yaml'
    const content = await readFile(new URL(name, ROOT), 'utf8')
    const config = readConfig({ file: { name, text: content } })
    assert.deepEqual(config.zone, { region: 'eu-central', zone: 'dc1', rack: 'rack12' })
    assert.equal(String(config.upstream.get('registry.corp')), 'http://10.0.0.2:5000/')
    const shown = [...Object.keys(parse(content) as object), 'control-token-file']
    assert.deepEqual(shown.sort(), CONFIG_KEYS.map(keyName).sort())
  })
})

describe('the list of examples', () => {
  it('names each of them, and nothing else', async () => {
    const readme = await readFile(new URL('examples/README.md', ROOT), 'utf8')
    const listed = [...readme.matchAll(/\]\(([^/)]+)\//g)].map(([, name]) => name)
    const folders = (await readdir(new URL('examples', ROOT), { withFileTypes: true })).filter((entry) => entry.isDirectory())
    assert.deepEqual(listed.sort(), folders.map(({ name }) => name).sort())
  })
})
