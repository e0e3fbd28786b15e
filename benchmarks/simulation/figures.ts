import { desksIn } from '../../src/rendezvous/desks.ts'
import { firstTwo } from '../../src/rendezvous/order.ts'
import { quantile } from '../lib/stats.ts'
import { lowerBoundSeconds } from '../swarm/bound.ts'
import { DIGEST } from './line.ts'
import type { World } from './world.ts'

/** Messages of one kind go together in tables. */
const KINDS: Readonly<Record<string, readonly string[]>> = {
  have: ['have'],
  request: ['request', 'busy', 'cancel'],
  swarm: ['want', 'state', 'unwant'],
  rendezvous: [
    'register',
    'unregister',
    'ask',
    'hold',
    'opened',
    'alive',
    'progress',
    'end',
    'members',
    'grant',
    'wait',
    'redirect',
  ],
}

/** What one simulated crowd comes to. */
export interface Figures {
  readonly boundS: number
  /** Of those that live, how many have not everything. */
  readonly unfinished: number
  /** Each host's time from its own start ÷ the bound: the median, and the slowest; hosts of slow links are left out of both. */
  readonly p50: number
  readonly ratio: number
  readonly originCopies: number
  readonly originRequests: number
  /** When the origin sent its last byte ÷ the bound. */
  readonly originDone: number
  /** Of what was delivered, bytes that had been there already. */
  readonly wastedShare: number
  /** Sent by each host, on average, by kind. */
  readonly messages: Readonly<Record<string, number>>
  /** New connections of each host, on average. */
  readonly connections: number
  readonly cpuSecondsPerHost: number
  /** The rendezvous: the most CPU milliseconds in any one second, and the longest that anything waited for it. */
  readonly rendezvousBusiestMs: number
  readonly rendezvousQueueMs: number
}

export function figuresOf(world: World): Figures {
  const { scenario, geometry, peers, cpu, messages } = world
  const { hosts, mbit, originMbit, slow } = scenario
  const aside = new Set(slow.map(({ host }) => host))
  const boundS = lowerBoundSeconds({
    bytes: geometry.size,
    originMbit,
    mbits: Array.from({ length: hosts - aside.size }, () => mbit),
  })
  const times = peers
    .flatMap(({ index, alive, tookMs }) => (alive && !aside.has(index) && tookMs !== undefined ? tookMs / 1_000 / boundS : []))
    .sort((a, b) => a - b)
  const per = (kinds: readonly string[]) => kinds.reduce((sum, kind) => sum + (messages.get(kind) ?? 0), 0) / hosts
  const offices = Array.from({ length: scenario.zones }, (_, zone) => {
    const ids = peers.flatMap(({ id, index }) => (index % scenario.zones === zone ? id : []))
    const desks = Array.from({ length: desksIn(ids.length) }, (_, desk) => desk)
    return desks.flatMap((desk) => firstTwo(DIGEST, ids, desk)).map((id) => world.peer(id).index)
  }).flat()
  const most = (of: Float64Array) => Math.max(...offices.map((index) => of[index] as number))
  return {
    boundS,
    unfinished: world.unfinished,
    p50: quantile(times, 0.5),
    ratio: times.at(-1) ?? Number.NaN,
    originCopies: world.originBytes / geometry.size,
    originRequests: world.originRequests,
    originDone: world.originLastMs / 1_000 / boundS,
    wastedShare: world.wastedBytes / (times.length * geometry.size),
    messages: Object.fromEntries(Object.entries(KINDS).map(([kind, names]) => [kind, per(names)])),
    connections: (2 * (messages.get('connection') ?? 0)) / hosts,
    cpuSecondsPerHost: cpu.total.reduce((sum, ms) => sum + ms, 0) / 1_000 / hosts,
    rendezvousBusiestMs: most(cpu.busiest),
    rendezvousQueueMs: most(cpu.longestWait),
  }
}
