/** `npm run bench [-- NAME…] [--quick]`: runs the benchmarks, prints a table of each, and writes benchmarks/results/. */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { idle } from './idle.ts'
import { latency } from './latency.ts'
import type { Benchmark } from './lib/benchmark.ts'
import { publish } from './lib/report.ts'
import { memory } from './memory.ts'
import { profile } from './profile.ts'
import { simulation } from './simulation/simulation.ts'
import { swarm } from './swarm/swarm.ts'
import { transfer } from './transfer.ts'
import { warmRead } from './warm-read.ts'

const ALL: readonly Benchmark[] = [transfer, warmRead, latency, memory, idle, profile, swarm, simulation]
/** None takes so long unless something hangs, or it says that it does. */
const LONGEST_MS = 10 * 60_000

process.exitCode = await main(process.argv.slice(2))

async function main(argv: readonly string[]): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    options: { quick: { type: 'boolean' }, help: { type: 'boolean' } },
    allowPositionals: true,
  })
  const unknown = positionals.filter((name) => !ALL.some((each) => each.name === name))
  if (values.help === true || unknown.length > 0) {
    const names = ALL.map(({ name, about }) => `  ${name.padEnd(10)} ${about}`)
    process.stderr.write(
      `${[...unknown.map((name) => `no benchmark is called ${name}`), 'npm run bench [-- NAME…] [--quick]', ...names].join('\n')}\n`,
    )
    return unknown.length > 0 ? 2 : 0
  }
  const stopping = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => stopping.abort(new Error(`stopped by ${signal}`)))
  try {
    const asked = ALL.filter(({ name, onlyByName }) => (positionals.length === 0 ? !onlyByName : positionals.includes(name)))
    for (const each of asked) {
      const late = AbortSignal.timeout(each.longestMs ?? LONGEST_MS)
      await run(each, values.quick === true, AbortSignal.any([stopping.signal, late]))
    }
    return 0
  } catch (error) {
    process.stderr.write(`${(error as Error).stack ?? error}\n`)
    return 1
  }
}

async function run(benchmark: Benchmark, quick: boolean, signal: AbortSignal): Promise<void> {
  const say = (what: string): void => void process.stderr.write(`${benchmark.name}: ${what}\n`)
  const dir = await mkdtemp(join(tmpdir(), 'shoal-bench-'))
  try {
    publish(await benchmark.run({ quick, dir, signal, say }), { keep: !quick })
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}
