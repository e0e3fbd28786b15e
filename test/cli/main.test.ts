import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { digestOf } from '../../protocols/digest.ts'
import { openTestControl } from '../control/harness.ts'
import { runShoal } from './run-shoal.ts'

const CONTENT = Buffer.alloc(300_000, 'shoal ')
const DIGEST = digestOf(CONTENT)

async function folder(t: TestContext): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'shoal-cli-'))
  t.after(() => rm(dir, { recursive: true, force: true }))
  return dir
}

test('a blob is brought into the node, into a file, or to stdout', async (t) => {
  const { node, control } = await openTestControl(t)
  const env = { SHOAL_CONTROL: control.address }
  const dir = await folder(t)
  node.origin.set(String(DIGEST), { bytes: CONTENT, meta: {} })
  const [into, file, out] = await Promise.all([
    runShoal(['get', String(DIGEST), '--origin', 'a.example/b', '--json'], { env }),
    runShoal(['get', 'http://127.0.0.1:9/file', '--digest', String(DIGEST), '-o', join(dir, 'file')], { env }),
    runShoal(['get', String(DIGEST), '--origin', 'a.example/b', '-o', '-'], { env }),
  ])
  assert.deepEqual([into.code, file.code, out.code], [0, 0, 0], into.stderr + file.stderr + out.stderr)
  assert.deepEqual(JSON.parse(String(into.stdout)), { digest: String(DIGEST), size: CONTENT.length })
  assert.ok(node.blobs.has(String(DIGEST)))
  assert.deepEqual(await readFile(join(dir, 'file')), CONTENT)
  assert.match(String(file.stdout), /^sha256:[0-9a-f]{64} {2}293 KiB, verified/)
  assert.deepEqual(out.stdout, CONTENT)
  assert.deepEqual(await readdir(dir), ['file'])
})

test('each kind of failure has its exit code, a line on stderr, and leaves no file', async (t) => {
  const { node, control } = await openTestControl(t)
  const env = { SHOAL_CONTROL: control.address }
  const dir = await folder(t)
  node.put(CONTENT)
  node.cutAfter = 128 * 1024
  const absent = String(digestOf(Buffer.from('absent')))
  const cases: [args: string[], code: number, says: RegExp][] = [
    [['get', String(DIGEST), '-o', join(dir, 'wrong')], 5, /\[DIGEST_MISMATCH\]/],
    [['get', String(DIGEST)], 5, /\[DIGEST_MISMATCH\]/],
    [['get', absent], 3, /\[BLOB_UNKNOWN\]/],
    [['get', absent, '-o', join(dir, 'absent')], 3, /\[BLOB_UNKNOWN\]/],
    [['get', 'a.example/b:none'], 3, /\[ORIGIN_NOT_FOUND\]/],
    [['rm', absent], 3, /\[BLOB_UNKNOWN\]/],
    [['get', 'sha256:abc'], 2, /\[DIGEST_INVALID\]/],
    [['get', 'Not A Reference'], 2, /\[REFERENCE_INVALID\]/],
    [['get', 'http://127.0.0.1:9/file'], 2, /--digest/],
    [['add', join(dir, 'nothing')], 2, /no such file/],
    [['get'], 2, /missing required argument/],
    [['status', '--bogus'], 2, /unknown option/],
    [['nonsense'], 2, /unknown command/],
    [['status', '--control', '127.0.0.1:1'], 4, /\[DAEMON_UNREACHABLE\]/],
  ]
  for (const [args, code, says] of cases) {
    const ran = await runShoal(args, { env })
    assert.equal(ran.code, code, `${args.join(' ')}: ${ran.stderr}`)
    assert.match(ran.stderr, says)
    assert.equal(String(ran.stdout), '')
  }
  assert.deepEqual(await readdir(dir), [])
})

test('with --json an error is an object on stderr', async (t) => {
  const { control } = await openTestControl(t)
  const ran = await runShoal(['rm', String(DIGEST), '--json'], { env: { SHOAL_CONTROL: control.address } })
  assert.equal(JSON.parse(ran.stderr).error.code, 'BLOB_UNKNOWN')
  assert.deepEqual(JSON.parse(String(ran.stdout)), { removed: [] })
  assert.equal(ran.code, 3)
})

test('files and stdin are added, listed and removed', async (t) => {
  const { node, control } = await openTestControl(t)
  const env = { SHOAL_CONTROL: control.address }
  const path = join(await folder(t), 'content')
  await writeFile(path, CONTENT)
  const added = await runShoal(['add', path, '-', '--json'], { env, stdin: Buffer.from('from stdin') })
  assert.deepEqual(JSON.parse(String(added.stdout)), [
    { path, digest: String(DIGEST), size: CONTENT.length },
    { path: '-', digest: String(digestOf(Buffer.from('from stdin'))), size: 10 },
  ])
  const listed = await runShoal(['ls'], { env })
  assert.match(String(listed.stdout), new RegExp(`^DIGEST .*\\n${DIGEST} +293 KiB  all `))
  assert.equal(JSON.parse(String((await runShoal(['ls', '--json'], { env })).stdout)).length, 2)
  const removed = await runShoal(['rm', String(DIGEST)], { env })
  assert.deepEqual([removed.code, String(removed.stdout)], [0, `${DIGEST}\n`])
  assert.equal(node.blobs.size, 1)
})

test('peers and status are shown as a table and as JSON', async (t) => {
  const { control } = await openTestControl(t, { mirror: '127.0.0.1:7400' })
  const run = async (...args: string[]) => String((await runShoal([...args, '--control', control.address])).stdout)
  assert.match(await run('peers'), /^PEER .*\n12D3KooWfake {2}connected {2}a\/b +1\.5 ms +10 B +20 B {2}\/ip4/)
  assert.equal(JSON.parse(await run('peers', '--json'))[0].peerId, '12D3KooWfake')
  assert.match(await run('status'), /^peer +12D3KooWself\n.*\nzone +a\/b\naddress +\/ip4.*\nmirror +127.0.0.1:7400\ncontrol +127/)
  assert.equal(JSON.parse(await run('status', '--json')).peerId, '12D3KooWself')
})

test('a peer is banned for a while, listed with why, and unbanned', async (t) => {
  const { control, node } = await openTestControl(t)
  const run = (...args: string[]) => runShoal([...args, '--control', control.address])
  const out = async (...args: string[]) => String((await run(...args)).stdout)
  const peer = '12D3KooWA4Xop1JaT3MHxwYMkCepYsv4iPVopMXwCz5iHYdBfeSB'
  assert.equal(await out('peers', '--banned'), 'no banned peers\n')
  assert.equal(
    await out('ban', peer, '--for', '1h30m', '--reason', 'too loud'),
    `${peer}  banned until 1970-01-01T01:30:00Z: too loud\n`,
  )
  assert.match(await out('peers', '--banned'), /^PEER .*\n12D3KooW\w+ {2}operator {2}1970-01-01T01:30:00Z +0 {2}too loud\n$/)
  assert.equal(JSON.parse(await out('peers', '--banned', '--json'))[0].reason, 'too loud')
  assert.equal(await out('unban', peer), `${peer}\n`)
  assert.equal(node.banned.size, 0)
  assert.equal(JSON.parse(await out('ban', peer, '--json')).peerId, peer)
  for (const [args, code, says] of [
    [['unban', peer, peer, '--json'], 3, /PEER_NOT_BANNED/],
    [['unban', 'nobody'], 2, /\[PEER_ID_INVALID\]/],
    [['ban', 'sha256:abc'], 2, /\[PEER_ID_INVALID\]/],
    [['ban', peer, '--for', 'ever'], 2, /not a duration.*\[CONFIG_INVALID\]/],
    [['unban'], 2, /missing required argument/],
  ] as const) {
    const ran = await run(...args)
    assert.equal(ran.code, code, ran.stderr)
    assert.match(ran.stderr, says)
  }
  assert.equal(node.banned.size, 0, 'those that there are go, whatever else fails')
})

test('the token is read from its file, and without it the exit code says so', async (t) => {
  const { control } = await openTestControl(t, { token: 'a-token-of-some-length' })
  const path = join(await folder(t), 'token')
  await writeFile(path, 'a-token-of-some-length\n')
  assert.equal((await runShoal(['status', '--control', control.address, '--control-token-file', path])).code, 0)
  assert.equal((await runShoal(['status', '--control', control.address])).code, 6)
  await writeFile(path, 'short')
  assert.equal((await runShoal(['status', '--control', control.address, '--control-token-file', path])).code, 2)
})

test('a get that is interrupted ends at once and leaves nothing behind', async (t) => {
  const { node, control } = await openTestControl(t)
  const dir = await folder(t)
  node.put(CONTENT)
  node.stallAfter = 128 * 1024
  const ran = await runShoal(['get', String(DIGEST), '-o', join(dir, 'file'), '--control', control.address], {
    onStart(kill) {
      const { outstanding } = node
      const timer = setInterval(() => {
        if (node.most === 0 || node.outstanding > outstanding) return
        clearInterval(timer)
        kill('SIGINT')
      }, 5)
    },
  })
  assert.equal(ran.code, 130)
  assert.deepEqual(await readdir(dir), [])
})

test('the help page lists the exit codes', async () => {
  const ran = await runShoal(['--help'])
  assert.equal(ran.code, 0)
  assert.match(String(ran.stdout), /Exit codes:\n {2}0 {2}done\n/)
  assert.match(String((await runShoal(['daemon', '--help'])).stdout), /--default-upstream <NAME>/)
})

test('a daemon whose configuration is wrong does not start, and says which value and where', async (t) => {
  const path = join(await folder(t), 'shoal.yaml')
  await writeFile(path, 'zon: a/b\n')
  for (const [args, env, says] of [
    [['--zone', 'nowhere'], {}, /--zone: .*\[ZONE_INVALID\]/],
    [[], { SHOAL_MIRROR: 'here' }, /SHOAL_MIRROR.*\[ADDRESS_INVALID\]/],
    [['--config', path], {}, /shoal\.yaml: unknown key "zon"; did you mean "zone"\? \[CONFIG_INVALID\]/],
    [['--config', `${path}.not`], {}, /can't read .*ENOENT.*\[CONFIG_INVALID\]/],
    [['--control', '0.0.0.0:0'], {}, /--control-token-file.*\[CONFIG_INVALID\]/],
    [['--colour', 'red'], {}, /unknown option '--colour'/],
  ] as [string[], Record<string, string>, RegExp][]) {
    const ran = await runShoal(['daemon', ...args], { env })
    assert.equal(ran.code, 2, ran.stderr)
    assert.match(ran.stderr, says)
  }
})
