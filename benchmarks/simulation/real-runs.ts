import { existsSync } from 'node:fs'
import { readResult } from '../lib/report.ts'

const MiB = 1024 * 1024

/** What a scenario of the swarm benchmark reached with real daemons. */
export interface RealRun {
  readonly name: string
  readonly hosts: number
  readonly mbit: number
  readonly mib: number
  /** Of each round, slowest ÷ bound. */
  readonly ratios: readonly number[]
  /** Bodies that the origin sent ÷ content, of each round. */
  readonly copies: readonly number[]
}

/** Those of results/swarm.json that can be simulated: one layer, and nobody lies. None when it was not run. */
export function realRuns(): RealRun[] {
  if (!existsSync(new URL('../results/swarm.json', import.meta.url))) return []
  const { figures } = readResult('swarm') as { figures: readonly SwarmResult[] }
  return figures.flatMap(({ name, hosts, mbit, layerBytes, rounds }) => {
    const plain = /^(layer|rendezvous|quarter|slow-host|origin-stops|staggered)/.test(name) && layerBytes.length === 1
    if (!plain || rounds.length === 0 || rounds.some(({ failed }) => failed > 0)) return []
    const mib = (layerBytes[0] as number) / MiB
    const copies = rounds.map(({ originBodyCopies }) => originBodyCopies)
    return { name, hosts, mbit, mib, ratios: rounds.map(({ ratio }) => ratio), copies }
  })
}

interface SwarmResult {
  readonly name: string
  readonly hosts: number
  readonly mbit: number
  readonly layerBytes: readonly number[]
  readonly rounds: readonly { readonly failed: number; readonly ratio: number; readonly originBodyCopies: number }[]
}
