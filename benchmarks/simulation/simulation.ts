import type { Benchmark, Context } from '../lib/benchmark.ts'
import { barChart } from '../lib/chart.ts'
import { show, spreadOf } from '../lib/stats.ts'
import { type Figures, figuresOf } from './figures.ts'
import { type RealRun, realRuns } from './real-runs.ts'
import { DEFAULTS, type Scenario } from './scenario.ts'
import { simulate } from './simulate.ts'

const SEEDS = [1, 2, 3]
/** The links and content of the real runs, in crowds that our machines can't run as well. */
const SCALE = [4, 8, 16, 32, 100, 300, 1_000, 10_000]
/** A zone has about so many hosts at most: more are several, and each of them imports a copy. */
const ZONE = 2_000
const SCALE_LINK = { mbit: 20, originMbit: 20, mib: 24 }
/** From here on they take minutes: one seed says enough. */
const LARGE = 1_000
/** What may happen to a crowd, and is simulated whether it was measured or not. */
const DISTURBED = ['rendezvous', 'quarter', 'slow-host', 'origin-stops', 'staggered']
/** Clients of the swarm benchmark start together. */
const TOGETHER_MS = 10
/** A crowd that is not done by then has failed. */
const GIVEN_UP_MS = 5 * 60_000
const LONGEST_MS = 60 * 60_000

interface Compared {
  readonly real: RealRun
  readonly simulated: readonly Figures[]
}

interface Scaled {
  readonly scenario: Scenario
  readonly figures: readonly Figures[]
}

export const simulation: Benchmark = {
  name: 'simulation',
  about: 'crowds of up to 10,000 in a simulator that decides as daemons do, beside real ones where those are small enough',
  longestMs: LONGEST_MS,
  onlyByName: true,
  async run(context) {
    const compared: Compared[] = []
    for (const real of casesOf(realRuns())) compared.push({ real, simulated: await simulateReal(real, context) })
    const scaled: Scaled[] = []
    for (const hosts of context.quick ? SCALE.filter((count) => count <= 100) : SCALE)
      scaled.push(await simulateScale(hosts, context))
    return {
      name: 'simulation',
      title: 'Simulated crowds, beside real ones',
      columns: [
        'scenario',
        'hosts',
        'Mbit/s',
        'MiB',
        'real ÷ bound',
        'simulated ÷ bound',
        'difference',
        'real copies',
        'simulated copies',
      ],
      rows: compared.map(comparedRow),
      details: { columns: SCALE_COLUMNS, rows: scaled.map(scaledRow) },
      figures: { compared, scaled },
      charts: {
        simulation: ratioChart(compared, scaled),
        'simulation-copies': copiesChart(scaled),
        'simulation-messages': messageChart(scaled),
      },
    }
  },
}

async function simulateReal(real: RealRun, { say, signal }: Context): Promise<Figures[]> {
  const { name, hosts, mbit, mib } = real
  say(`${name}, ${hosts} hosts`)
  const scenario = { ...DEFAULTS, hosts, mbit, originMbit: mbit, mib, spreadMs: TOGETHER_MS, ...disturbance(real) }
  const all: Figures[] = []
  for (const seed of SEEDS) all.push(await run({ ...scenario, seed }, signal))
  return all
}

/** The real runs, and what goes wrong in those that were not made, at the size of the first. */
function casesOf(real: readonly RealRun[]): RealRun[] {
  const { hosts, mbit, mib } = real.find(({ name }) => name === 'layer') ?? { hosts: 8, mbit: 20, mib: 24 }
  const missing = DISTURBED.filter((name) => real.every((one) => one.name !== name))
  return [...real, ...missing.map((name) => ({ name, hosts, mbit, mib, ratios: [], copies: [] }))]
}

/** What the swarm benchmark does to a crowd in a scenario of that name. */
function disturbance({ name, hosts, mbit }: RealRun): Partial<Scenario> {
  switch (name) {
    case 'rendezvous':
      return {
        deaths: [
          { atShare: 0.3, host: 'rendezvous' },
          { atShare: 0.6, host: 'standby' },
        ],
      }
    case 'quarter':
      return { deaths: Array.from({ length: Math.floor(hosts / 4) }, (_, i) => ({ atShare: 0.5, host: 4 * i })) }
    case 'slow-host':
      return { slow: [{ host: 2, mbit: mbit / 10 }] }
    case 'origin-stops':
      return { originStops: true }
    case 'staggered':
      return { everyMs: 1_000 }
  }
  return {}
}

async function simulateScale(hosts: number, { say, signal }: Context): Promise<Scaled> {
  say(`${hosts} hosts`)
  const zones = Math.ceil(hosts / ZONE)
  // so that the origin's link is no other bottleneck than in one zone
  const originMbit = zones * SCALE_LINK.originMbit
  const scenario: Scenario = { ...DEFAULTS, ...SCALE_LINK, hosts, zones, originMbit, longestMs: GIVEN_UP_MS }
  const figures: Figures[] = []
  for (const seed of hosts < LARGE ? SEEDS : SEEDS.slice(0, 1)) figures.push(await run({ ...scenario, seed }, signal))
  return { scenario, figures }
}

async function run(scenario: Scenario, signal: AbortSignal): Promise<Figures> {
  return figuresOf(await simulate(scenario, { signal }))
}

function comparedRow({ real, simulated }: Compared): string[] {
  const here = spreadOf(simulated.map(({ ratio }) => ratio))
  const there = real.ratios.length === 0 ? undefined : spreadOf(real.ratios)
  return [
    real.name,
    `${real.hosts}`,
    `${real.mbit}`,
    `${real.mib}`,
    there === undefined ? 'not run' : show(there),
    show(here),
    there === undefined ? '' : `${((here.median / there.median - 1) * 100).toFixed(0)} %`,
    there === undefined ? '' : show(spreadOf(real.copies)),
    show(spreadOf(simulated.map(({ originCopies }) => originCopies))),
  ]
}

const SCALE_COLUMNS = [
  'hosts',
  'zones',
  'Mbit/s',
  'MiB',
  'unfinished',
  'slowest ÷ bound',
  'p50 ÷ bound',
  'copies',
  'a host sends: HAVE',
  'request',
  'want, state',
  'rendezvous',
  'new connections',
  'CPU s a host',
  'rendezvous, busiest second, ms',
  'longest wait, ms',
]

function scaledRow({ scenario, figures }: Scaled): string[] {
  const median = (of: (figures: Figures) => number, digits: number) => spreadOf(figures.map(of)).median.toFixed(digits)
  const sent = (kind: string) => median(({ messages }) => messages[kind] ?? 0, 0)
  return [
    `${scenario.hosts}`,
    `${scenario.zones}`,
    `${scenario.mbit}`,
    `${scenario.mib}`,
    median(({ unfinished }) => unfinished, 0),
    median(({ ratio }) => ratio, 2),
    median(({ p50 }) => p50, 2),
    median(({ originCopies }) => originCopies, 2),
    ...['have', 'request', 'swarm', 'rendezvous'].map(sent),
    median(({ connections }) => connections, 0),
    median(({ cpuSecondsPerHost }) => cpuSecondsPerHost, 2),
    median(({ rendezvousBusiestMs }) => rendezvousBusiestMs, 0),
    median(({ rendezvousQueueMs }) => rendezvousQueueMs, 0),
  ]
}

function ratioChart(compared: readonly Compared[], scaled: readonly Scaled[]): string {
  const ratioOf = (figures: readonly Figures[]) => spreadOf(figures.map(({ ratio }) => ratio)).median
  return barChart({
    title: 'Slowest host ÷ bound: real and simulated',
    yName: '× bound',
    categories: [
      ...compared.map(({ real }) => `${real.name}, ${real.hosts}`),
      ...scaled.map(({ scenario }) => `${scenario.hosts} hosts`),
    ],
    series: [
      {
        name: 'real daemons',
        values: [
          ...compared.map(({ real }) => (real.ratios.length === 0 ? 0 : spreadOf(real.ratios).median)),
          ...scaled.map(() => 0),
        ],
      },
      {
        name: 'simulated',
        values: [...compared.map(({ simulated }) => ratioOf(simulated)), ...scaled.map(({ figures }) => ratioOf(figures) || 0)],
      },
    ],
    aim: { name: 'aim 1.15', value: 1.15 },
  })
}

function copiesChart(scaled: readonly Scaled[]): string {
  const copiesOf = ({ scenario, figures }: Scaled) =>
    spreadOf(figures.map(({ originCopies }) => originCopies)).median / scenario.zones
  return barChart({
    title: 'Copies that the origin sends to each zone',
    yName: '× content',
    categories: scaled.map(({ scenario }) => `${scenario.hosts} hosts`),
    series: [{ name: 'simulated', values: scaled.map(copiesOf) }],
    aim: { name: 'aim 1.05', value: 1.05 },
  })
}

function messageChart(scaled: readonly Scaled[]): string {
  const kinds = ['have', 'request', 'swarm', 'rendezvous']
  return barChart({
    title: `Control messages that a host sends, for ${SCALE_LINK.mib} MiB in pieces of 256 KiB`,
    yName: 'messages',
    categories: scaled.map(({ scenario }) => `${scenario.hosts} hosts`),
    series: kinds.map((name) => ({ name, values: scaled.map(({ figures }) => figures[0]?.messages[name] ?? 0) })),
  })
}
