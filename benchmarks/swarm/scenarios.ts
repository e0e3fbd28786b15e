import type { Scenario } from './scenario.ts'

const MiB = 1024 * 1024

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'layer',
    about: 'one large layer',
    hosts: 16,
    mbit: 50,
    layerBytes: [128 * MiB],
    aims: [],
  },
]
