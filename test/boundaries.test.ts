import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, relative, resolve } from 'node:path'
import { test } from 'node:test'

/**
 * Who may import whom (design 3): cli → mirror, control → node → download → { store, discovery, rendezvous, transfer, rank, origin } → net → protocols.
 * A layer imports what is to its right; parts of one level do not import each other.
 */
const LEVELS: readonly (readonly string[])[] = [
  ['cli'],
  ['daemon'],
  ['mirror', 'control'],
  ['node'],
  ['download'],
  ['store', 'discovery', 'rendezvous', 'transfer', 'rank', 'origin'],
  ['net'],
  ['protocols'],
]
/** May be imported by all of src. */
const EVERYWHERE = new Set([
  'clock',
  'sample',
  'telemetry',
  'errors',
  'version',
  'config',
  'config-values',
  'token-bucket',
  'rate-limit',
  'rates',
])
/** Files of src/ itself, by the part they belong to. */
const ROOT_FILES: Readonly<Record<string, string>> = {
  'index.ts': 'node',
  'node.ts': 'node',
  'running-node.ts': 'node',
  'shoal-node.ts': 'node',
  'ban-info.ts': 'node',
  'fetched-blob.ts': 'node',
  'content-source.ts': 'node',
  'tag-desk.ts': 'node',
  'zone-tags.ts': 'node',
  'daemon.ts': 'daemon',
  'errors.ts': 'errors',
  'config.ts': 'config',
  'config-values.ts': 'config-values',
  'version.ts': 'version',
  'clock.ts': 'clock',
  'sample.ts': 'sample',
  'token-bucket.ts': 'token-bucket',
  'rate-limit.ts': 'rate-limit',
  'rates.ts': 'rates',
}

const ROOT = resolve(import.meta.dirname, '..')
const FILES = ['src', 'protocols'].flatMap((folder) =>
  readdirSync(resolve(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => `${folder}/${file}`),
)

test('every file belongs to a part', () => {
  for (const file of FILES)
    assert.notEqual(partOf(file), undefined, `${file} belongs to no part: name it in the table or move it`)
})

test('a part imports only parts to its right in the import table', () => {
  const wrong = edges()
    .filter(([from, to]) => !allowed(partOf(from) as string, partOf(to) as string))
    .map(([from, to]) => `${from} imports ${to}`)
  assert.deepEqual(wrong, [])
})

test('only src/net imports libp2p, only the catalog imports level, and only telemetry knows the metrics library', () => {
  for (const file of FILES) {
    for (const name of packagesOf(file)) {
      if (/^(libp2p|@libp2p\/|datastore-)/.test(name)) assert.match(file, /^src\/net\//, `${file} imports ${name}`)
      if (/^(level|classic-level|abstract-level)$/.test(name))
        assert.equal(file, 'src/store/catalog.ts', `${file} imports ${name}`)
      if (name === 'prom-client') assert.equal(file, 'src/telemetry/prometheus.ts', `${file} imports ${name}`)
    }
  }
})

test('the protocols do no input or output and know no clock', () => {
  for (const file of FILES.filter((f) => f.startsWith('protocols/'))) {
    for (const name of packagesOf(file)) assert.match(name, /^(node:crypto|multiformats\/)/, `${file} imports ${name}`)
    assert.doesNotMatch(readFileSync(resolve(ROOT, file), 'utf8'), /Date\.now|performance\.now|Math\.random|setTimeout/, file)
  }
})

function edges(): [string, string][] {
  return FILES.flatMap((file) =>
    importsOf(file)
      .filter((name) => name.startsWith('.'))
      .map((name): [string, string] => [file, relative(ROOT, resolve(ROOT, dirname(file), name))]),
  )
}

function packagesOf(file: string): string[] {
  return importsOf(file).filter((name) => !name.startsWith('.'))
}

function importsOf(file: string): string[] {
  const text = readFileSync(resolve(ROOT, file), 'utf8')
  return [
    ...text.matchAll(
      /(?:^|\n)\s*(?:import|export)\s[^;'"]*?from\s+'([^']+)'|import\(\s*'([^']+)'\s*\)|(?:^|\n)import\s+'([^']+)'/g,
    ),
  ].map((match) => (match[1] ?? match[2] ?? match[3]) as string)
}

function partOf(file: string): string | undefined {
  if (file.startsWith('protocols/')) return 'protocols'
  const [, first, ...rest] = file.split('/') as [string, string, ...string[]]
  return rest.length === 0 ? ROOT_FILES[first] : first
}

function allowed(from: string, to: string): boolean {
  if (from === to || EVERYWHERE.has(to)) return true
  if (EVERYWHERE.has(from)) return to === 'protocols'
  const level = (part: string) => LEVELS.findIndex((parts) => parts.includes(part))
  return level(from) >= 0 && level(to) > level(from)
}
