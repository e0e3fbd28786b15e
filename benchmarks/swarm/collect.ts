/** One report of single runs: `node --conditions=shoal-source benchmarks/swarm/collect.ts FILE…`, files as `main.ts --json` wrote them. */
import { readFileSync } from 'node:fs'
import { publish } from '../lib/report.ts'
import type { Figures } from './figures.ts'
import { SCENARIOS } from './scenarios.ts'
import { type Result, reportOf } from './swarm.ts'

const results = process.argv.slice(2).map(read)
publish(reportOf(results), { keep: true })

/** Aims are functions, which a file does not hold: they are those of the scenario of the same name. */
function read(file: string): Result {
  const { scenario, rounds } = JSON.parse(readFileSync(file, 'utf8')) as { scenario: Result['scenario']; rounds: Figures[] }
  const aims = SCENARIOS.find(({ name }) => name === scenario.name)?.aims ?? []
  return { scenario: { ...scenario, aims }, rounds }
}
