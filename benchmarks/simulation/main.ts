/**
 * One simulated crowd: `node --conditions=shoal-source benchmarks/simulation/main.ts [--hosts 1000] [--mbit 50] [--origin-mbit 50] [--mib 128]
 * [--seed 1] [--spread-ms 1000] [--kill rendezvous@30%]… [--kill 2@6000]… [--slow 2@5]… [--any-order] [--json]`.
 */
import { parseArgs } from 'node:util'
import { type Figures, figuresOf } from './figures.ts'
import { DEFAULTS, type Death, type Scenario } from './scenario.ts'
import { simulate } from './simulate.ts'

const { values } = parseArgs({
  options: {
    hosts: { type: 'string' },
    mbit: { type: 'string' },
    'origin-mbit': { type: 'string' },
    mib: { type: 'string' },
    seed: { type: 'string' },
    'spread-ms': { type: 'string' },
    'every-ms': { type: 'string' },
    'latency-ms': { type: 'string' },
    'origin-dies-ms': { type: 'string' },
    cores: { type: 'string' },
    zones: { type: 'string' },
    'origin-stops': { type: 'boolean' },
    kill: { type: 'string', multiple: true },
    slow: { type: 'string', multiple: true },
    'any-order': { type: 'boolean' },
    json: { type: 'boolean' },
  },
})
const scenario = scenarioOf()
const startedAt = performance.now()
const figures = figuresOf(await simulate(scenario))
const tookS = (performance.now() - startedAt) / 1_000
process.stdout.write(values.json === true ? `${JSON.stringify({ scenario, figures, tookS })}\n` : shown(figures))

function scenarioOf(): Scenario {
  const mbit = number('mbit', DEFAULTS.mbit)
  return {
    ...DEFAULTS,
    hosts: number('hosts', DEFAULTS.hosts),
    mbit,
    originMbit: number('origin-mbit', mbit),
    mib: number('mib', DEFAULTS.mib),
    seed: number('seed', DEFAULTS.seed),
    spreadMs: number('spread-ms', DEFAULTS.spreadMs),
    everyMs: number('every-ms', DEFAULTS.everyMs),
    latencyMs: number('latency-ms', DEFAULTS.latencyMs),
    originDiesMs: number('origin-dies-ms', DEFAULTS.originDiesMs),
    originStops: values['origin-stops'] === true,
    zones: number('zones', DEFAULTS.zones),
    sharedCores: number('cores', DEFAULTS.sharedCores),
    readsInOrder: values['any-order'] !== true,
    deaths: (values.kill ?? []).map(deathOf),
    slow: (values.slow ?? []).map((text) => ({ host: Number(text.split('@')[0]), mbit: Number(text.split('@')[1]) })),
  }
}

function number(name: keyof typeof values, otherwise: number): number {
  const value = Number(values[name] ?? otherwise)
  if (Number.isNaN(value)) throw new TypeError(`--${name} is a number`)
  return value
}

function deathOf(text: string): Death {
  const [who = '', at = ''] = text.split('@')
  const when = at.endsWith('%') ? { atShare: Number.parseFloat(at) / 100 } : { atMs: Number(at) }
  return { ...when, host: who === 'rendezvous' || who === 'standby' ? who : Number(who) }
}

function shown(f: Figures): string {
  const { hosts, mbit, mib, seed } = scenario
  const messages = Object.entries(f.messages).map(([kind, count]) => `${kind} ${count.toFixed(1)}`)
  return [
    `${hosts} hosts, ${mbit} Mbit/s, ${mib} MiB, seed ${seed} (simulated in ${tookS.toFixed(1)} s)`,
    `  slowest ÷ bound   ${f.ratio.toFixed(3)} (median ${f.p50.toFixed(3)}, bound ${f.boundS.toFixed(2)} s)${f.unfinished > 0 ? `, ${f.unfinished} UNFINISHED` : ''}`,
    `  origin            ${f.originCopies.toFixed(3)} copies in ${f.originRequests} requests, the last byte at ${f.originDone.toFixed(2)} bounds; wasted ${(100 * f.wastedShare).toFixed(2)} %`,
    `  messages a host   ${messages.join(', ')}; new connections ${f.connections.toFixed(1)}`,
    `  CPU               ${f.cpuSecondsPerHost.toFixed(2)} s a host; rendezvous at most ${f.rendezvousBusiestMs.toFixed(0)} ms in a second, queue ${f.rendezvousQueueMs.toFixed(0)} ms`,
    '',
  ].join('\n')
}
