import { COLUMNS, row } from '../lib/aim.ts'
import { terminalTable } from '../lib/report.ts'
import { spreadOf } from '../lib/stats.ts'
import type { Figures } from './figures.ts'
import type { Scenario, ScenarioAim } from './scenario.ts'

/** Of all cores: with more, the CPU may be what was measured. */
export const BUSY_SHARE = 0.85

/** One round, for people at a terminal. */
export function summaryOf({ name, hosts, mbit }: Scenario, figures: Figures): string {
  const { boundS, completionS, firstByteS, ratio, failed } = figures
  const rates = boundS === undefined ? 'no rates' : `${mbit} Mbit/s`
  const percent = (share: number): string => `${(share * 100).toFixed(1)} %`
  const lines = [
    `${name}: ${hosts} hosts, ${rates}${failed > 0 ? `  FAILED ON ${failed} HOSTS` : ''}`,
    `  complete    p50 ${seconds(completionS.p50)}  p95 ${seconds(completionS.p95)}  max ${seconds(completionS.max)}`,
    `  first byte  p50 ${seconds(firstByteS.p50)}  max ${seconds(firstByteS.max)}`,
    ...(boundS === undefined ? [] : [`  bound       ${seconds(boundS)}, slowest ÷ bound ${ratio.toFixed(3)}`]),
    `  origin      ${boundS === undefined ? '' : `${figures.originLinkCopies.toFixed(3)} copies over its link, `}${figures.originBodyCopies.toFixed(3)} in bodies, ${figures.originRequests} requests`,
    `  wasted      ${percent(figures.wastedShare)}, ${figures.failedPieces} pieces failed their check`,
    `  CPU         ${figures.cpuSecondsPerGiB.toFixed(1)} s/GiB and the clients' ${figures.clientCpuSecondsPerGiB.toFixed(1)}, machine ${percent(figures.machineShare)} busy${figures.machineShare > BUSY_SHARE ? ' (THE CPU MAY BE THE LIMIT)' : ''}`,
    `  peak RSS    ${figures.peakRssMiB.toFixed(0)} MiB`,
  ]
  const failures = figures.hosts.filter(({ failure, killed }) => failure !== undefined && !killed)
  return [...lines, ...failures.map(({ host, failure }) => `  host ${host}: ${failure}`)].join('\n')
}

/** What became of the scenario's aims. */
export function verdictsOf({ aims }: Scenario, rounds: readonly Figures[]): string {
  // without links of their own, hosts have no bound and the origin no counter
  const measured = aims.filter(({ of }) => !rounds.some((figures) => Number.isNaN(of(figures))))
  const rows = measured.map((aim) => aimRow(aim, rounds))
  return terminalTable(COLUMNS, rows)
}

export function aimRow({ what, unit, than, value, digits = 3, of }: ScenarioAim, rounds: readonly Figures[]): string[] {
  return row({ what, unit, values: spreadOf(rounds.map(of)), aim: { than, value }, digits })
}

function seconds(value: number): string {
  return `${value.toFixed(2)} s`
}
