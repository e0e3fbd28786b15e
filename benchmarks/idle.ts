/** (d) What a daemon costs that has 16 peers and nothing to do. */
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { type Aim, COLUMNS, row } from './lib/aim.ts'
import type { Benchmark, Context } from './lib/benchmark.ts'
import { barChart } from './lib/chart.ts'
import { Daemon } from './lib/daemon.ts'
import type { Report } from './lib/report.ts'
import { spreadOf } from './lib/stats.ts'

const RSS: Aim = { than: 'less', value: 120 }
const CPU: Aim = { than: 'less', value: 0.5 }

interface Sample {
  readonly peers: number
  readonly rssMib: number
  readonly cpuSecondsPerMinute: number
}

export const idle: Benchmark = {
  name: 'idle',
  about: 'memory and CPU of a daemon with 16 peers and nothing to do',
  run: measure,
}

async function measure({ quick, dir, signal, say }: Context): Promise<Report> {
  const [peers, settleMs, seconds] = quick ? [4, 2_000, 5] : [16, 30_000, 60]
  await using stack = new AsyncDisposableStack()
  const first = stack.use(await Daemon.start({ dataDir: join(dir, '0'), signal }))
  const daemons = [first]
  for (let i = 1; i <= peers; i++) {
    say(`starting daemon ${i + 1} of ${peers + 1}`)
    daemons.push(stack.use(await Daemon.start({ dataDir: join(dir, String(i)), bootstrap: first.addresses, signal })))
  }
  for (const daemon of daemons) await daemon.untilConnected(peers)
  say(`all are connected; letting them settle for ${settleMs / 1_000} s`)
  await delay(settleMs, undefined, { signal })
  const before = daemons.map((daemon) => daemon.usage.cpuSeconds)
  say(`measuring for ${seconds} s`)
  await delay(seconds * 1_000, undefined, { signal })
  const after = daemons.map((daemon) => daemon.usage)
  const connected = await Promise.all(daemons.map((daemon) => daemon.connectedPeers()))
  const samples = after.map(({ cpuSeconds, rssMiB }, i) => ({
    peers: connected[i] as number,
    rssMib: rssMiB,
    cpuSecondsPerMinute: ((cpuSeconds - (before[i] as number)) * 60) / seconds,
  }))
  return report(seconds, samples)
}

function report(seconds: number, samples: readonly Sample[]): Report {
  const rss = spreadOf(samples.map((s) => s.rssMib))
  const cpu = spreadOf(samples.map((s) => s.cpuSecondsPerMinute))
  const rows = [
    { what: 'RSS', unit: 'MiB', values: rss, aim: RSS, digits: 0 },
    { what: 'CPU', unit: 's a minute', values: cpu, aim: CPU },
    { what: 'connected peers', unit: '', values: spreadOf(samples.map((s) => s.peers)), digits: 0 },
  ]
  return {
    name: 'idle',
    title: `${samples.length} idle daemons, each connected to all others, over ${seconds} s`,
    columns: COLUMNS,
    rows: rows.map(row),
    figures: { seconds, samples },
    charts: {
      idle: barChart({
        title: 'An idle daemon: memory',
        yName: 'MiB',
        categories: ['least', 'median', 'most'],
        series: [{ name: 'RSS', values: [rss.min, rss.median, rss.max] }],
        aim: { name: 'aim', value: RSS.value },
      }),
    },
  }
}
