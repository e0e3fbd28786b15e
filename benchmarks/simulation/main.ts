import { parseArgs } from 'node:util'
import { lowerBoundSeconds } from '../swarm/bound.ts'
import { DEFAULTS } from './scenario.ts'
import { simulate } from './simulate.ts'

const { values } = parseArgs({
  args: process.argv.slice(2),
  options: { hosts: { type: 'string' }, mbit: { type: 'string' }, mib: { type: 'string' }, seed: { type: 'string' }, cores: { type: 'string' }, whole: { type: 'boolean' }, latency: { type: 'string' } },
})
const n = (v: string | undefined, d: number) => (v === undefined ? d : Number(v))
const mbit = n(values.mbit, 50)
const scenario = { ...DEFAULTS, hosts: n(values.hosts, 16), mbit, originMbit: mbit, mib: n(values.mib, 128), seed: n(values.seed, 1), sharedCores: n(values.cores, 0), readsInOrder: values.whole !== true, latencyMs: n(values.latency, 0.5) }
const t0 = performance.now()
const w = await simulate(scenario)
const times = w.peers.filter((p) => p.finished).map((p) => p.finishedAt - p.startedAt).sort((a, b) => a - b)
const bound = lowerBoundSeconds({ bytes: w.geometry.size, originMbit: mbit, mbits: Array(scenario.hosts).fill(mbit) }) * 1000
const max = (a: Float64Array) => a.reduce((x, y) => Math.max(x, y), 0)
const top = w.cpu.busiest.indexOf(max(w.cpu.busiest))
console.log(JSON.stringify({
  hosts: scenario.hosts, bound: +(bound / 1000).toFixed(2), p50: +((times[times.length >> 1] ?? 0) / bound).toFixed(3), ratio: +((times.at(-1) ?? 0) / bound).toFixed(3), unfinished: w.unfinished,
  originDone: +(w.originLastMs / bound).toFixed(2), origin: +(w.originBytes / w.geometry.size).toFixed(3), reqs: w.originRequests, wasted: +(w.wastedBytes / w.geometry.size / scenario.hosts).toFixed(4),
  busiest: +max(w.cpu.busiest).toFixed(0), who: top, longestWait: +max(w.cpu.longestWait).toFixed(0), cpuPerHost: +(w.cpu.total.reduce((a, b) => a + b, 0) / scenario.hosts / 1000).toFixed(2),
  perNode: Object.fromEntries([...w.messages].map(([k, v]) => [k, +(v / scenario.hosts).toFixed(1)])), wall: +((performance.now() - t0) / 1000).toFixed(1), rss: process.memoryUsage().rss >> 20,
}))
