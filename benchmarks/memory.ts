/** (d) Memory of both ends and the holder's event loop at full speed, whatever the size of the blob. */
import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type Aim, COLUMNS, row } from './lib/aim.ts'
import type { Benchmark, Context } from './lib/benchmark.ts'
import { barChart } from './lib/chart.ts'
import { type Daemon, startPair } from './lib/daemon.ts'
import { inQuiet, type Quiet } from './lib/quiet.ts'
import type { Report } from './lib/report.ts'
import { spreadOf } from './lib/stats.ts'
import { warmMemory } from './lib/warm-memory.ts'

const MIB = 2 ** 20
const PEAK: Aim = { than: 'less', value: 250 }
const LOOP_P99 = 'nodejs_eventloop_lag_p99_seconds'

interface End {
  /** Of the whole life of the process: its start, and for the holder the adding, are in it. */
  readonly peakRssMib: number
  readonly afterRssMib: number
  /** Of the delays that Node's timer saw; an idle loop shows `idleLoopP99Ms`, which is the timer's own grain. */
  readonly loopP99Ms: number
  readonly idleLoopP99Ms: number
}

interface Sample {
  readonly bytes: number
  readonly seconds: number
  readonly holder: End
  readonly fetcher: End
}

export const memory: Benchmark = {
  name: 'memory',
  about: 'peak RSS of both ends at 64 MiB, 1 GiB and 4 GiB, and event-loop delay at full speed',
  run: measure,
}

async function measure({ quick, dir, signal, say }: Context): Promise<Report> {
  const sizes = quick ? [64, 256] : [64, 1024, 4096]
  const runs = quick ? 1 : 2
  const samples: Quiet<Sample>[] = []
  for (const size of sizes) {
    for (let i = 0; i < runs; i++) {
      const sample = await inQuiet({ say, signal }, () => transferOnce(join(dir, `${size}-${i}`), size * MIB, signal), 2)
      const { seconds, holder, fetcher } = sample.result
      say(
        `${size} MiB in ${seconds.toFixed(2)} s: peak RSS ${holder.peakRssMib.toFixed(0)} and ${fetcher.peakRssMib.toFixed(0)} MiB, loop p99 ${holder.loopP99Ms.toFixed(1)} and ${fetcher.loopP99Ms.toFixed(1)} ms`,
      )
      samples.push(sample)
    }
  }
  return report(samples)
}

/** Two new daemons, one blob. */
async function transferOnce(dir: string, bytes: number, signal: AbortSignal): Promise<Sample> {
  await mkdir(dir)
  try {
    await using pair = await startPair(dir, { signal })
    const { holder, fetcher } = pair
    const digest = await holder.add('memory', bytes)
    await warmMemory(dir, bytes)
    const before = await loops(holder, fetcher)
    const seconds = await fetcher.fetch(digest)
    const after = await loops(holder, fetcher)
    return {
      bytes,
      seconds,
      holder: endOf(holder, before.holder, after.holder),
      fetcher: endOf(fetcher, before.fetcher, after.fetcher),
    }
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
}

/** The delays since this was last read. Reads twice: the first may have seen the adding. */
async function loops(holder: Daemon, fetcher: Daemon): Promise<{ readonly holder: number; readonly fetcher: number }> {
  return { holder: (await holder.metric(LOOP_P99)) * 1_000, fetcher: (await fetcher.metric(LOOP_P99)) * 1_000 }
}

function endOf({ usage }: Daemon, idleLoopP99Ms: number, loopP99Ms: number): End {
  return { peakRssMib: usage.peakRssMiB, afterRssMib: usage.rssMiB, loopP99Ms, idleLoopP99Ms }
}

function report(samples: readonly Quiet<Sample>[]): Report {
  const sizes = [...new Set(samples.map((s) => s.result.bytes))]
  const over = (bytes: number, value: (sample: Sample) => number) =>
    spreadOf(samples.flatMap(({ result }) => (result.bytes === bytes ? [value(result)] : [])))
  const rows = sizes.flatMap((bytes) => [
    {
      what: `${bytes / MIB} MiB: peak RSS of the holder`,
      unit: 'MiB',
      values: over(bytes, (s) => s.holder.peakRssMib),
      aim: PEAK,
      digits: 0,
    },
    {
      what: `${bytes / MIB} MiB: peak RSS of the fetcher`,
      unit: 'MiB',
      values: over(bytes, (s) => s.fetcher.peakRssMib),
      aim: PEAK,
      digits: 0,
    },
    {
      what: `${bytes / MIB} MiB: loop delay of the holder, p99`,
      unit: 'ms',
      values: over(bytes, (s) => s.holder.loopP99Ms),
      digits: 1,
    },
    {
      what: `${bytes / MIB} MiB: loop delay of the fetcher, p99`,
      unit: 'ms',
      values: over(bytes, (s) => s.fetcher.loopP99Ms),
      digits: 1,
    },
  ])
  return {
    name: 'memory',
    title: 'Memory of both ends, and their event loops at full speed (new processes each time)',
    columns: COLUMNS,
    rows: rows.map(row),
    figures: samples,
    charts: {
      memory: barChart({
        title: 'Peak RSS by size of the blob (median)',
        yName: 'MiB',
        categories: sizes.map((bytes) => `${bytes / MIB} MiB`),
        series: [
          { name: 'holder', values: sizes.map((bytes) => over(bytes, (s) => s.holder.peakRssMib).median) },
          { name: 'fetcher', values: sizes.map((bytes) => over(bytes, (s) => s.fetcher.peakRssMib).median) },
        ],
        aim: { name: 'aim', value: PEAK.value },
      }),
    },
  }
}
