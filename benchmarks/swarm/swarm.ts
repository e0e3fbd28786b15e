import { cpus } from 'node:os'
import type { Aim } from '../lib/aim.ts'
import { row } from '../lib/aim.ts'
import type { Benchmark, Context } from '../lib/benchmark.ts'
import { barChart } from '../lib/chart.ts'
import type { Report } from '../lib/report.ts'
import { spreadOf } from '../lib/stats.ts'
import { resized } from './change.ts'
import { Containerd } from './containerd.ts'
import type { Figures } from './figures.ts'
import { Hosts } from './hosts.ts'
import { prepare } from './prepare.ts'
import { runRound } from './round.ts'
import type { Scenario } from './scenario.ts'
import { SCENARIOS } from './scenarios.ts'
import { aimRow, summaryOf } from './summary.ts'

const ROUNDS = 3
/** A machine of fewer cores than this can not run sixteen daemons at 50 Mbit/s: its CPU would be what is measured. */
const ENOUGH_CORES = 8
/** What the downlinks of a crowd may carry in all on a machine of few cores: beyond it the CPU is what is measured. */
const GENTLE_MBIT = 200
const MIB = 1024 * 1024
const QUICK = { hosts: 4, largestBytes: 16 * 1024 * 1024 }
/** Of all rounds together. */
const LONGEST_MS = 90 * 60_000
/** The scenarios that differ in nothing but the number of hosts. */
const SCALE = ['layer-4', 'layer-8', 'layer-16', 'layer-32']
const LARGEST_OF_SCALE = 32
const GROWTH: Aim = { than: 'less', value: 1.05 }

/** A scenario, and its rounds. */
export interface Result {
  readonly scenario: Scenario
  readonly rounds: readonly Figures[]
}

export const swarm: Benchmark = {
  name: 'swarm',
  about: 'crowds that pull the same cold content at once, on links of their own; takes most of an hour',
  longestMs: LONGEST_MS,
  onlyByName: true,
  async run(context) {
    const loopback = !Hosts.possible
    if (loopback) context.say('no network namespaces here: on loopback, without rates')
    const results: Result[] = []
    for (const each of SCENARIOS) {
      if (each.containerd === true && !Containerd.installed) {
        context.say(`${each.name} is left out: containerd is not installed`)
        continue
      }
      const scenario = sized(each, context.quick)
      results.push({ scenario, rounds: await rounds(scenario, loopback, context) })
    }
    return reportOf(results)
  },
}

/** One report of all. */
export function reportOf(results: readonly Result[]): Report {
  return {
    name: 'swarm',
    title: 'A cold crowd pulls the same content at once',
    columns: ['scenario', 'hosts', 'Mbit/s', 'what', 'unit', 'median (min–max)', 'aim', ''],
    rows: [...results.flatMap(aimRows), ...growthRows(results)],
    details: {
      columns: ['scenario (medians)', 'hosts', 'Mbit/s', ...DETAILS.map(([what]) => what)],
      rows: results.map(detailRow),
    },
    figures: results.map(({ scenario, rounds: all }) => ({ ...scenario, rounds: all.map(withoutTransfers) })),
    charts: { swarm: completionChart(results), 'swarm-origin': originChart(results) },
  }
}

/** The scenario as this machine can run it: with few cores half the hosts, and slower links that are busy for as long. */
function sized(scenario: Scenario, quick: boolean): Scenario {
  if (quick) return resized(scenario, { hosts: Math.min(scenario.hosts, QUICK.hosts), largestBytes: QUICK.largestBytes })
  if (cpus().length >= ENOUGH_CORES) return scenario
  const hosts = scenario.hosts / 2
  const mbit = Math.min(scenario.mbit, GENTLE_MBIT / (SCALE.includes(scenario.name) ? LARGEST_OF_SCALE / 2 : hosts))
  const largest = Math.max(...scenario.layerBytes)
  return resized(scenario, { hosts, mbit, ...(largest < MIB ? {} : { largestBytes: (largest * mbit) / scenario.mbit }) })
}

async function rounds(scenario: Scenario, loopback: boolean, { quick, signal, say }: Context): Promise<Figures[]> {
  await using prepared = await prepare(scenario)
  const all: Figures[] = []
  for (let i = 1; i <= (quick ? 1 : ROUNDS); i++) {
    await using dir = await prepared.roundDir()
    const { figures } = await runRound({ scenario, ...prepared, dir: dir.path, loopback, signal, say: () => {} })
    say(`round ${i} of ${summaryOf(scenario, figures)}`)
    all.push(figures)
  }
  return all
}

function aimRows({ scenario, rounds: all }: Result): string[][] {
  return scenario.aims.map((aim) => [scenario.name, ...sizeOf(scenario), ...aimRow(aim, all)])
}

type Detail = readonly [what: string, digits: number, of: (figures: Figures) => number]

/** What every scenario is looked at for: medians of its rounds. */
const DETAILS: readonly Detail[] = [
  ['p50 s', 2, ({ completionS }) => completionS.p50],
  ['p95 s', 2, ({ completionS }) => completionS.p95],
  ['slowest s', 2, ({ completionS }) => completionS.max],
  ['÷ bound', 3, ({ ratio }) => ratio],
  ['first byte p50 s', 2, ({ firstByteS }) => firstByteS.p50],
  ['worst s', 2, ({ firstByteS }) => firstByteS.max],
  ["origin's link, copies", 3, ({ originLinkCopies }) => originLinkCopies],
  ['bodies, copies', 3, ({ originBodyCopies }) => originBodyCopies],
  ['requests', 0, ({ originRequests }) => originRequests],
  ['wasted %', 2, ({ wastedShare }) => 100 * wastedShare],
  ['CPU s/GiB', 1, ({ cpuSecondsPerGiB }) => cpuSecondsPerGiB],
  ["clients' s/GiB", 1, ({ clientCpuSecondsPerGiB }) => clientCpuSecondsPerGiB],
  ['machine busy %', 0, ({ machineShare }) => 100 * machineShare],
  ['peak RSS MiB', 0, ({ peakRssMiB }) => peakRssMiB],
]

function detailRow({ scenario, rounds: all }: Result): string[] {
  const values = DETAILS.map(([, digits, of]) => spreadOf(all.map(of)).median.toFixed(digits))
  return [scenario.name, ...sizeOf(scenario), ...values]
}

function sizeOf({ hosts, mbit }: Scenario): string[] {
  return [String(hosts), String(mbit)]
}

/** How the ratio to the bound grows from each number of hosts to its double. */
function growthRows(results: readonly Result[]): string[][] {
  const scale = SCALE.map((name) => results.find(({ scenario }) => scenario.name === name)).filter((each) => each !== undefined)
  return scale.slice(1).map((larger, i) => {
    const smaller = scale[i] as Result
    const median = spreadOf(smaller.rounds.map(({ ratio }) => ratio)).median
    const values = spreadOf(larger.rounds.map(({ ratio }) => ratio / median))
    const hosts = `${smaller.scenario.hosts} → ${larger.scenario.hosts}`
    return [
      'layer, doubled',
      hosts,
      String(larger.scenario.mbit),
      ...row({ what: 'growth of slowest ÷ bound', unit: '×', values, aim: GROWTH, digits: 3 }),
    ]
  })
}

function completionChart(results: readonly Result[]): string {
  const of = (pick: (figures: Figures) => number) => results.map(({ rounds: all }) => spreadOf(all.map(pick)).median)
  const relative = (pick: (figures: Figures) => number) => of((figures) => pick(figures) / (figures.boundS ?? 1))
  return barChart({
    title: 'When hosts had the content, in times of the bound (median of rounds)',
    yName: '× bound',
    width: 1200,
    categories: results.map(({ scenario }) => scenario.name),
    series: [
      { name: 'p50', values: relative(({ completionS }) => completionS.p50) },
      { name: 'p95', values: relative(({ completionS }) => completionS.p95) },
      { name: 'slowest', values: relative(({ completionS }) => completionS.max) },
    ],
    aim: { name: 'the bound', value: 1 },
  })
}

function originChart(results: readonly Result[]): string {
  return barChart({
    title: 'What the origin sent (median of rounds)',
    yName: 'copies',
    width: 1200,
    categories: results.map(({ scenario }) => scenario.name),
    series: [
      {
        name: 'over its link',
        values: results.map(({ rounds: all }) => spreadOf(all.map(({ originLinkCopies }) => originLinkCopies)).median),
      },
    ],
    aim: { name: 'one copy', value: 1 },
  })
}

/** A crowd of small layers has thousands. */
function withoutTransfers({ usage: _, hosts, ...figures }: Figures): object {
  return { ...figures, hosts: hosts.map(({ transfers: __, ...host }) => host) }
}
