import type { Benchmark, Context } from '../lib/benchmark.ts'
import { barChart } from '../lib/chart.ts'
import { readResult } from '../lib/report.ts'
import { quantile } from '../lib/stats.ts'
import { type Figures, figuresOf } from './figures.ts'
import { DEFAULTS, type Scenario } from './scenario.ts'
import { simulate } from './simulate.ts'

/** Links and content of the real runs that it is held against. */
const LINK = { mbit: 20, originMbit: 20, mib: 24 }
const HOSTS = [4, 8, 16, 100, 1_000]
const SEEDS = [1, 2, 3]
/** A thousand hosts take most of a minute for each seed. */
const MANY = 1_000
const LONGEST_MS = 15 * 60_000

interface Row {
  readonly hosts: number
  readonly figures: Figures
  /** The real crowd of the same size: slowest ÷ bound and copies, medians of its rounds. */
  readonly real: readonly [ratio: number, copies: number] | undefined
}

export const simulation: Benchmark = {
  name: 'simulation',
  about: 'the same decisions for up to a thousand simulated hosts, beside the real crowds; some minutes',
  longestMs: LONGEST_MS,
  onlyByName: true,
  async run(context) {
    const hosts = context.quick ? HOSTS.filter((count) => count <= 100) : HOSTS
    const rows: Row[] = []
    for (const count of hosts) rows.push({ hosts: count, figures: await median(count, context), real: realOf(count) })
    return {
      name: 'simulation',
      title: `Simulated crowds: one layer of ${LINK.mib} MiB, ${LINK.mbit} Mbit/s each way`,
      columns: [
        'hosts',
        'slowest ÷ bound',
        'real',
        'copies',
        'real',
        'HAVEs a host',
        'rendezvous messages a host',
        'its queue ms',
      ],
      rows: rows.map(cells),
      figures: rows,
      charts: {
        simulation: barChart({
          title: 'Slowest host ÷ bound: simulated, and real where measured',
          yName: '× bound',
          categories: rows.map((row) => `${row.hosts} hosts`),
          series: [
            { name: 'simulated', values: rows.map(({ figures }) => figures.ratio) },
            { name: 'real', values: rows.map(({ real }) => real?.[0] ?? 0) },
          ],
          aim: { name: 'the bound', value: 1 },
        }),
      },
    }
  },
}

/** Of the seeds' runs, the one whose slowest host is in the middle. */
async function median(hosts: number, { quick, say, signal }: Context): Promise<Figures> {
  const all: Figures[] = []
  for (const seed of quick || hosts >= MANY ? SEEDS.slice(0, 1) : SEEDS) {
    signal.throwIfAborted()
    const scenario: Scenario = { ...DEFAULTS, ...LINK, hosts, seed }
    all.push(figuresOf(await simulate(scenario)))
    say(`${hosts} hosts, seed ${seed}: ${(all.at(-1) as Figures).ratio.toFixed(3)} × the bound`)
  }
  return all.toSorted((a, b) => a.ratio - b.ratio)[all.length >> 1] as Figures
}

interface RealScenario {
  readonly name: string
  readonly hosts: number
  readonly mbit: number
  readonly rounds: readonly { readonly ratio: number; readonly originLinkCopies: number }[]
}

/** From the last swarm benchmark, if it had such a crowd. */
function realOf(hosts: number): Row['real'] {
  const { figures } = readResult('swarm') as { figures: readonly RealScenario[] }
  const found = figures.find((s) => s.name.startsWith('layer') && s.hosts === hosts && s.mbit === LINK.mbit)
  if (found === undefined) return undefined
  const middle = (of: (round: RealScenario['rounds'][number]) => number) =>
    quantile(
      found.rounds.map(of).toSorted((a, b) => a - b),
      0.5,
    )
  return [middle(({ ratio }) => ratio), middle(({ originLinkCopies }) => originLinkCopies)]
}

function cells({ hosts, figures, real }: Row): string[] {
  const { ratio, originCopies, messages, rendezvousQueueMs } = figures
  const [realRatio, realCopies] = real ?? []
  return [
    String(hosts),
    ratio.toFixed(3),
    realRatio?.toFixed(3) ?? '',
    originCopies.toFixed(3),
    realCopies?.toFixed(3) ?? '',
    (messages.have ?? 0).toFixed(0),
    (messages.rendezvous ?? 0).toFixed(0),
    rendezvousQueueMs.toFixed(0),
  ]
}
