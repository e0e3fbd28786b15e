/** One scenario, with its numbers changed at will: `node --conditions=shoal-source benchmarks/swarm/main.ts --scenario layer --hosts 8`. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Figures } from './figures.ts'
import { Hosts } from './hosts.ts'
import { LogFiles } from './log-files.ts'
import { prepare } from './prepare.ts'
import { runRound } from './round.ts'
import type { Scenario } from './scenario.ts'
import { SCENARIOS } from './scenarios.ts'
import { summaryOf } from './summary.ts'

const MiB = 1024 * 1024
const USAGE = `node --conditions=shoal-source benchmarks/swarm/main.ts --scenario NAME [flags]
  --hosts N --mbit R      instead of the scenario's own
  --mib S                 size of the largest layer; the others shrink and grow with it
  --rounds N              1 by default
  --loopback              no network namespaces, no rates
  --json FILE             all figures
  --keep-logs DIR         each daemon's log, at level trace
scenarios:`

process.exitCode = await main(process.argv.slice(2))

async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      scenario: { type: 'string' },
      hosts: { type: 'string' },
      mbit: { type: 'string' },
      mib: { type: 'string' },
      rounds: { type: 'string', default: '1' },
      loopback: { type: 'boolean', default: false },
      json: { type: 'string' },
      'keep-logs': { type: 'string' },
      help: { type: 'boolean' },
    },
  })
  const found = SCENARIOS.find(({ name }) => name === values.scenario)
  if (found === undefined || values.help === true) {
    process.stderr.write(`${[USAGE, ...SCENARIOS.map(({ name, about }) => `  ${name.padEnd(12)} ${about}`)].join('\n')}\n`)
    return values.help === true ? 0 : 2
  }
  const stopping = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => stopping.abort(new Error(`stopped by ${signal}`)))
  const loopback = values.loopback || !Hosts.possible
  if (loopback && !values.loopback) say('no network namespaces here: on loopback, without rates')
  const logs = values['keep-logs']
  try {
    const scenario = changed(found, values, logs !== undefined)
    const all = await rounds(scenario, Number(values.rounds), { loopback, logs, signal: stopping.signal })
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ scenario, loopback, rounds: all }, null, 2)}\n`)
    return 0
  } catch (error) {
    process.stderr.write(`${(error as Error).stack ?? error}\n`)
    return 1
  }
}

interface Running {
  readonly loopback: boolean
  readonly logs: string | undefined
  readonly signal: AbortSignal
}

async function rounds(scenario: Scenario, count: number, { loopback, logs, signal }: Running): Promise<Figures[]> {
  await using prepared = await prepare(scenario)
  const all: Figures[] = []
  for (let i = 1; i <= count; i++) {
    await using dir = await prepared.roundDir()
    using files = new LogFiles(logs === undefined ? undefined : join(logs, `round-${i}`))
    const figures = await runRound({ scenario, ...prepared, dir: dir.path, loopback, onLog: files.onLog, signal, say })
    process.stdout.write(`${summaryOf(scenario, figures)}\n`)
    all.push(figures)
  }
  return all
}

function changed(
  scenario: Scenario,
  { hosts, mbit, mib }: { readonly hosts?: string; readonly mbit?: string; readonly mib?: string },
  traced: boolean,
): Scenario {
  const largest = Math.max(...scenario.layerBytes)
  const factor = mib === undefined ? 1 : (Number(mib) * MiB) / largest
  return {
    ...scenario,
    hosts: Number(hosts ?? scenario.hosts),
    mbit: Number(mbit ?? scenario.mbit),
    layerBytes: scenario.layerBytes.map((bytes) => Math.round(bytes * factor)),
    ...(traced ? { traced } : {}),
  }
}

function say(what: string): void {
  process.stderr.write(`swarm: ${what}\n`)
}
