/** `npm run demo`: one registry, four daemons, and then no registry. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { formatReference, parseReference } from '../../protocols/reference.ts'
import { formatBytes } from '../../src/cli/format.ts'
import { pullThrough } from './client.ts'
import { openStage, pulledNote, type Row, type Stage, say, tableOf } from './display.ts'
import { type Daemon, startDaemon, untilConnected } from './fleet.ts'
import { createImage } from './image.ts'
import { openRegistry } from './registry.ts'

const MIB = 1 << 20
/** Seven layers, 101 MiB. */
const LAYERS = [32, 24, 20, 12, 8, 4, 1].map((size) => size * MIB)
const NODES = 4
/** Nothing listens there: a registry that is down. */
const DEAD = 'http://127.0.0.1:1'
/** Beyond this, a node did go to the origin for content; what it asks about a tag has no body. */
const MAX_ORIGIN_BYTES = 0

const USAGE = `npm run demo -- [--image REF] [--upstream NAME=URL]

Pulls a generated image from an embedded registry through four daemons, each a real process; then the
registry is stopped and the last one still pulls. --image takes a real image from its own registry instead.`

/** Where the image is, and how it goes away. */
interface Source extends AsyncDisposable {
  readonly reference: string
  readonly upstreams: readonly string[]
  /** The upstreams of a node that can't reach the registry. */
  readonly cutOff: readonly string[]
  /** Stops the registry; a real one is only out of reach of the node that pulls next. */
  stop(): Promise<string>
}

async function openGenerated(): Promise<Source> {
  const image = createImage({ seed: 'shoal demo', layerBytes: LAYERS })
  const imageBytes = [...image.blobs.values()].reduce((sum, blob) => sum + blob.size, 0)
  const registry = await openRegistry()
  registry.addImage('demo/app', 'v1', image)
  const upstreams = [`registry.demo=${registry.url}`]
  return {
    reference: 'registry.demo/demo/app:v1',
    upstreams,
    cutOff: upstreams,
    async stop() {
      await registry.close()
      return `the registry is stopped, after it sent ${formatBytes(registry.blobBytes)} for an image of ${formatBytes(imageBytes)}`
    },
    [Symbol.asyncDispose]: () => registry.close(),
  }
}

function realSource(image: string, upstreams: readonly string[]): Source {
  const reference = parseReference(image)
  const others = upstreams.filter((upstream) => !upstream.startsWith(`${reference.registry}=`))
  return {
    reference: formatReference(reference),
    upstreams,
    cutOff: [...others, `${reference.registry}=${DEAD}`],
    async stop() {
      return `for the last node, ${reference.registry} does not answer`
    },
    async [Symbol.asyncDispose]() {},
  }
}

async function pull(daemon: Daemon, reference: string, stage: Stage, signal: AbortSignal): Promise<Row> {
  const { onBytes, end } = stage.follow(daemon.name)
  const pulled = await Promise.race([pullThrough(daemon.mirror, reference, { signal, onBytes }), daemon.failed])
  const { origin, peer } = await daemon.downloaded()
  end(`${pulledNote(pulled)}; ${formatBytes(origin)} from the origin, ${formatBytes(peer)} from peers`)
  return { name: daemon.name, pulled, originBytes: origin, peerBytes: peer }
}

/** What is wrong with how it went; empty when all is well. */
function faults(rows: readonly Row[]): string[] {
  const [first, ...others] = rows
  return others.flatMap(({ name, originBytes, pulled }) => [
    ...(originBytes > MAX_ORIGIN_BYTES
      ? [`${name} took ${formatBytes(originBytes)} from the origin although a peer had all of it`]
      : []),
    ...(first !== undefined && !pulled.digest.equals(first.pulled.digest) ? [`${name} pulled another image than node 1`] : []),
  ])
}

async function run(source: Source, dir: string, signal: AbortSignal): Promise<boolean> {
  await using stack = new AsyncDisposableStack()
  const start = async (index: number, upstreams: readonly string[], bootstrap: readonly string[]): Promise<Daemon> => {
    const dataDir = join(dir, `node-${index}`)
    await mkdir(dataDir)
    return stack.use(await startDaemon({ name: `node ${index}`, dataDir, upstreams, bootstrap }, signal))
  }
  say(`Starting ${NODES} daemons …`)
  const first = await start(1, source.upstreams, [])
  const rest = await Promise.all(
    [2, 3, 4].map((index) => start(index, index === NODES ? source.cutOff : source.upstreams, first.addresses.slice(0, 1))),
  )
  const daemons = [first, ...rest]
  await untilConnected(daemons, signal)
  for (const { name, mirror, control } of daemons) say(`  ${name}: mirror ${mirror}, control ${control}`)

  const rows: Row[] = []
  const phase = async (title: string, some: readonly Daemon[]): Promise<void> => {
    say(`\n${title}`)
    using stage = openStage()
    rows.push(...(await Promise.all(some.map((daemon) => pull(daemon, source.reference, stage, signal)))))
  }
  await phase(`1. node 1 pulls ${source.reference}: nobody has it, so it comes from the registry`, daemons.slice(0, 1))
  await phase('2. node 2 and node 3 pull it at the same time: it comes from peers', daemons.slice(1, 3))
  await phase(`3. ${await source.stop()}; node 4 pulls`, daemons.slice(3))

  say(`\n${tableOf(rows)}`)
  const wrong = faults(rows)
  for (const fault of wrong) say(`WRONG: ${fault}`)
  if (wrong.length === 0) say('Nodes 2 to 4 took nothing from the registry, and every digest is right.')
  return wrong.length === 0
}

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { image: { type: 'string' }, upstream: { type: 'string', multiple: true }, help: { type: 'boolean', short: 'h' } },
  })
  if (values.help === true) {
    say(USAGE)
    return 0
  }
  const stopped = new AbortController()
  const stop = (): void => stopped.abort(new Error('stopped'))
  process.on('SIGINT', stop).on('SIGTERM', stop)
  const dir = await mkdtemp(join(tmpdir(), 'shoal-demo-'))
  try {
    await using source = values.image === undefined ? await openGenerated() : realSource(values.image, values.upstream ?? [])
    return (await run(source, dir, stopped.signal)) ? 0 : 1
  } catch (error) {
    if (stopped.signal.aborted) return 130
    process.stderr.write(`demo: ${(error as Error).message}\n`)
    return 1
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

process.exitCode = await main()
