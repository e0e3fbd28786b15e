import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { access, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { createProgram } from '../src/cli/program.ts'
import { DEFAULTS } from '../src/config.ts'
import { formatHostPort, type HostPort } from '../src/config-values.ts'
import { route } from '../src/control/route.ts'
import { tmp } from './helpers/tmp.ts'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const README = await readFile(join(ROOT, 'README.md'), 'utf8')
const SCRIPTS = (JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as { scripts: Record<string, string> }).scripts

/** Blocks between fences, of one language. */
function blocks(language: string): string[] {
  return [...README.matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)]
    .filter(([, name]) => name === language)
    .map(([, , body]) => body as string)
}

/** Everything that is written as code: lines of shell blocks, and spans inside the text. */
function commands(): string[] {
  const shell = blocks('sh').flatMap((block) => block.split('\n'))
  const prose = README.replace(/^```[\s\S]*?^```$/gm, '')
  return [...shell, ...[...prose.matchAll(/`([^`\n]+)`/g)].map(([, span]) => span as string)].map((line) =>
    line.replace(/\s#.*$/, ''),
  )
}

const OURS = /^(npm|npx|shoal|-)/

describe('the README', () => {
  it('is short', () => {
    assert.ok(README.split('\n').length < 150)
  })

  it('shows code that compiles as it stands', async (t) => {
    const dir = await tmp(t)
    const config = {
      extends: join(ROOT, 'tsconfig.json'),
      compilerOptions: {
        typeRoots: [join(ROOT, 'node_modules', '@types')],
        paths: { shoal: [join(ROOT, 'src', 'index.ts')] },
      },
      include: ['*.ts'],
    }
    await writeFile(join(dir, 'package.json'), '{ "type": "module" }')
    await writeFile(join(dir, 'tsconfig.json'), JSON.stringify(config))
    const code = blocks('ts')
    assert.ok(code.length > 0)
    for (const [i, block] of code.entries()) await writeFile(join(dir, `block-${i}.ts`), block)
    const tsc = join(ROOT, 'node_modules', '.bin', 'tsc')
    await promisify(execFile)(tsc, ['-p', dir], { cwd: dir }).catch((error: { stdout: string }) => assert.fail(error.stdout))
  })

  it('shows TOML and JSON that parse', () => {
    for (const block of blocks('toml'))
      for (const line of block.split('\n'))
        assert.match(line, /^(\[\[?[^[\]]+\]?\]|\s*[\w-]+ = ("[^"]*"|\[("[^"]*"(, )?)*\]|true|false|\d+)|)$/)
    const json = commands().filter((span) => span.startsWith('{ '))
    assert.ok(json.length > 0)
    for (const span of json) assert.doesNotThrow(() => JSON.parse(span), span)
  })

  it('names scripts of npm that there are', () => {
    for (const line of commands())
      for (const [, run, script] of line.matchAll(/npm (run )?([a-z:]+)/g))
        if (run !== undefined || script === 'start' || script === 'test')
          assert.ok(script !== undefined && script in SCRIPTS, line)
  })

  it('names commands and flags of shoal that there are', () => {
    const program = createProgram(new AbortController().signal)
    const verbs = program.commands.map((command) => command.name())
    const flags = new Set(
      [...program.commands, program].flatMap(({ options }) => options.flatMap((o) => [o.long, o.short])).concat('--help'),
    )
    for (const line of commands().filter((line) => OURS.test(line))) {
      const verb = /^(?:npm run shoal --|shoal) ([a-z]+)/.exec(line)?.[1]
      if (verb !== undefined) assert.ok(verbs.includes(verb), line)
      for (const [flag] of line.matchAll(/(?<=^|\s)--?[a-z][a-z-]*/g)) assert.ok(flags.has(flag), `${flag} in: ${line}`)
    }
  })

  it('names paths of the control listener that there are', () => {
    const paths = commands().filter((span) => /^\/(v1|healthz|readyz|metrics)/.test(span))
    assert.ok(paths.length > 5)
    for (const path of paths)
      assert.notEqual(route('GET', path.replace('{digest}', `sha256:${'0'.repeat(64)}`)).type, 'unknown', path)
  })

  it('names the ports that are the defaults', () => {
    for (const listener of [DEFAULTS.mirror, DEFAULTS.control]) assert.ok(README.includes(formatHostPort(listener as HostPort)))
    const ports = new Set([...README.matchAll(/127\.0\.0\.1:(\d+)/g)].map(([, port]) => Number(port)))
    assert.deepEqual([...ports].sort(), [DEFAULTS.mirror?.port, DEFAULTS.control?.port])
  })

  it('links to files that there are', async () => {
    const links = [...README.matchAll(/\]\(([^)#]+)\)/g)].map(([, to]) => to as string).filter((to) => !to.includes('://'))
    assert.ok(links.length > 0)
    for (const link of links) await assert.doesNotReject(access(join(ROOT, link)), link)
  })
})
