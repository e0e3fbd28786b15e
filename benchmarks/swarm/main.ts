/** One scenario, with its numbers changed at will: `node --conditions=shoal-source benchmarks/swarm/main.ts --scenario layer --hosts 8`. */
import { writeFileSync } from 'node:fs'
import { join, parse } from 'node:path'
import { parseArgs } from 'node:util'
import { resized } from './change.ts'
import type { Figures } from './figures.ts'
import { Hosts } from './hosts.ts'
import { LogFiles } from './log-files.ts'
import { prepare } from './prepare.ts'
import { profileText } from './profile.ts'
import { type Round, runRound } from './round.ts'
import type { Scenario } from './scenario.ts'
import { SCENARIOS } from './scenarios.ts'
import { summaryOf, verdictsOf } from './summary.ts'
import { summariseTimeline, timelineText } from './timeline.ts'
import { timelineChart } from './timeline-chart.ts'

const MiB = 1024 * 1024
const PROFILED = 2
const USAGE = `node --conditions=shoal-source benchmarks/swarm/main.ts --scenario NAME [flags]
  --hosts N --mbit R      instead of the scenario's own
  --mib S                 size of the largest layer; the others shrink and grow with it
  --rounds N              1 by default
  --fresh                 daemons have pulled nothing before
  --loopback              no network namespaces, no rates
  --json FILE             all figures
  --timeline FILE.svg     draws who came to hold which piece when, and prints a summary of it
  --profile DIR           V8's CPU profiles of host 2, and a summary of them
  --keep-logs DIR         each daemon's log, at level trace, and what the origin was asked for
scenarios:
${SCENARIOS.map(({ name, about }) => `  ${name.padEnd(14)} ${about}`).join('\n')}
`

process.exitCode = await main(process.argv.slice(2))

async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      scenario: { type: 'string' },
      hosts: { type: 'string' },
      mbit: { type: 'string' },
      mib: { type: 'string' },
      rounds: { type: 'string' },
      fresh: { type: 'boolean', default: false },
      loopback: { type: 'boolean', default: false },
      json: { type: 'string' },
      timeline: { type: 'string' },
      'keep-logs': { type: 'string' },
      profile: { type: 'string' },
      help: { type: 'boolean' },
    },
  })
  const found = SCENARIOS.find(({ name }) => name === values.scenario)
  if (found === undefined || values.help === true) {
    process.stderr.write(USAGE)
    return values.help === true ? 0 : 2
  }
  const stopping = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => stopping.abort(new Error(`stopped by ${signal}`)))
  // `| head` has seen enough
  process.stdout.once('error', (error) => stopping.abort(error))
  const loopback = values.loopback || !Hosts.possible
  if (loopback && !values.loopback) say('no network namespaces here: on loopback, without rates')
  const { 'keep-logs': logs, timeline, profile, mib } = values
  try {
    const largestBytes = mib === undefined ? undefined : number(mib) * MiB
    const scenario = resized(found, { hosts: number(values.hosts), mbit: number(values.mbit), largestBytes })
    const begun = values.fresh ? { ...scenario, fresh: true as const } : scenario
    const traced = logs !== undefined || timeline !== undefined ? { ...begun, traced: true as const } : begun
    const all = await rounds(traced, number(values.rounds) ?? 1, { loopback, logs, timeline, profile, signal: stopping.signal })
    if (values.json !== undefined) writeFileSync(values.json, `${JSON.stringify({ scenario, loopback, rounds: all }, null, 2)}\n`)
    return 0
  } catch (error) {
    const why = stopping.signal.aborted ? stopping.signal.reason : error
    process.stderr.write(`${(why as Error).stack ?? why}\n`)
    return 1
  }
}

interface Running {
  readonly loopback: boolean
  readonly logs: string | undefined
  readonly timeline: string | undefined
  readonly profile: string | undefined
  readonly signal: AbortSignal
}

async function rounds(scenario: Scenario, count: number, running: Running): Promise<Figures[]> {
  const { loopback, logs, timeline, signal } = running
  await using prepared = await prepare(scenario)
  const all: Figures[] = []
  for (let i = 1; i <= count; i++) {
    await using dir = await prepared.roundDir()
    using files = new LogFiles(logs === undefined ? undefined : join(logs, `round-${i}`))
    const profile = running.profile === undefined ? undefined : { host: PROFILED, dir: join(running.profile, `round-${i}`) }
    const round = await runRound({ scenario, ...prepared, dir: dir.path, loopback, profile, onLog: files.onLog, signal, say })
    process.stdout.write(`${summaryOf(scenario, round.figures)}\n`)
    files.keepRequests(round.start, round.requests)
    if (timeline !== undefined) drawTimeline(scenario, round, count === 1 ? timeline : numbered(timeline, i))
    if (profile !== undefined) process.stdout.write(`${profileText(profile, round.startMicros)}\n`)
    all.push(round.figures)
  }
  process.stdout.write(`${verdictsOf(scenario, all)}\n`)
  return all
}

function drawTimeline(scenario: Scenario, { held, start, pieces, figures }: Round, path: string): void {
  process.stdout.write(`${timelineText(summariseTimeline(held, start, pieces))}\n`)
  const title = `${scenario.name}: ${scenario.hosts} hosts, ${scenario.mbit} Mbit/s`
  writeFileSync(path, timelineChart({ title, held, start, pieces, hosts: scenario.hosts, usage: figures.usage }))
}

function numbered(path: string, i: number): string {
  const { dir, name, ext } = parse(path)
  return join(dir, `${name}-${i}${ext}`)
}

function number(text: string): number
function number(text: string | undefined): number | undefined
function number(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (!(value > 0)) throw new Error(`not a number above 0: ${text}`)
  return value
}

function say(what: string): void {
  process.stderr.write(`swarm: ${what}\n`)
}
