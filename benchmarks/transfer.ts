/** (a) A blob from one daemon to another, verified and on the disk, against the bare stream that carries it. */
import { type Aim, COLUMNS, row } from './lib/aim.ts'
import type { Benchmark, Context } from './lib/benchmark.ts'
import { barChart } from './lib/chart.ts'
import { type Daemon, startPair } from './lib/daemon.ts'
import { Spawned } from './lib/process.ts'
import { inQuiet, type Quiet } from './lib/quiet.ts'
import type { Report } from './lib/report.ts'
import { type Spread, spreadOf } from './lib/stats.ts'
import { resetPeakRss, type Usage } from './lib/usage.ts'
import { warmMemory } from './lib/warm-memory.ts'

const RAW_PEER = new URL('./micro/raw-peer.ts', import.meta.url).pathname
const GIB = 2 ** 30
const AIMS = { ratio: { than: 'more', value: 0.8 }, cpu: { than: 'less', value: 5 } } as const satisfies Record<string, Aim>

interface Process {
  readonly pid: number
  readonly usage: Usage
}

/** One way to bring the bytes from one process to another. */
interface Arm {
  readonly sender: Process
  readonly receiver: Process
  /** @returns seconds */
  transfer(): Promise<number>
}

interface Sample {
  readonly mibPerSecond: number
  readonly senderCpuPerGib: number
  readonly receiverCpuPerGib: number
  readonly senderPeakMib: number
  readonly receiverPeakMib: number
}

type Name = 'shoal' | 'raw' | 'stock'
type Round = Readonly<Record<Name, Quiet<Sample>>>

export const transfer: Benchmark = {
  name: 'transfer',
  about: '1 GiB from daemon to daemon, verified to disk, against a raw libp2p stream',
  run: measure,
}

async function measure({ quick, dir, signal, say }: Context): Promise<Report> {
  const bytes = quick ? GIB / 8 : GIB
  const rounds = quick ? 2 : 5
  await using stack = new AsyncDisposableStack()
  say(`adding ${bytes / 2 ** 20} MiB to the first daemon`)
  const pair = stack.use(await startPair(dir, { signal }))
  const digest = await pair.holder.add('transfer', bytes)
  const arms = {
    shoal: shoalArm(pair.holder, pair.fetcher, digest),
    raw: stack.use(await rawArm('shoal', bytes, signal)),
    stock: stack.use(await rawArm('stock', bytes, signal)),
  }
  const samples: Round[] = []
  for (let i = 0; i <= rounds; i++) {
    const sample = (arm: Arm) =>
      inQuiet({ say, signal }, async () => {
        await warmMemory(dir, bytes)
        return await sampleOf(arm, bytes)
      })
    const round = { raw: await sample(arms.raw), shoal: await sample(arms.shoal), stock: await sample(arms.stock) }
    const figures = (['shoal', 'raw', 'stock'] as const).map(
      (name) => `${name} ${Math.round(round[name].result.mibPerSecond)} MiB/s`,
    )
    say(`${i === 0 ? 'warm-up' : `round ${i} of ${rounds}`}: ${figures.join(', ')}`)
    if (i > 0) samples.push(round)
  }
  return report(bytes, samples)
}

async function sampleOf(arm: Arm, bytes: number): Promise<Sample> {
  for (const { pid } of [arm.sender, arm.receiver]) resetPeakRss(pid)
  const before = [arm.sender.usage, arm.receiver.usage] as const
  const seconds = await arm.transfer()
  const after = [arm.sender.usage, arm.receiver.usage] as const
  const cpuPerGib = (i: 0 | 1) => ((after[i].cpuSeconds - before[i].cpuSeconds) * GIB) / bytes
  return {
    mibPerSecond: bytes / 2 ** 20 / seconds,
    senderCpuPerGib: cpuPerGib(0),
    receiverCpuPerGib: cpuPerGib(1),
    senderPeakMib: after[0].peakRssMiB,
    receiverPeakMib: after[1].peakRssMiB,
  }
}

function shoalArm(holder: Daemon, fetcher: Daemon, digest: string): Arm {
  let held = false
  return {
    sender: holder,
    receiver: fetcher,
    async transfer() {
      if (held) throw new Error('it is held already')
      held = true
      const seconds = await fetcher.fetch(digest)
      await fetcher.remove(digest)
      held = false
      return seconds
    },
  }
}

async function rawArm(transports: string, bytes: number, signal: AbortSignal): Promise<Arm & AsyncDisposable> {
  await using stack = new AsyncDisposableStack()
  const flags = ['--disable-warning=ExperimentalWarning', RAW_PEER]
  const sender = stack.use(new Spawned({ args: [...flags, 'send', transports, String(bytes)], signal }))
  const address = await sender.line()
  const receiver = stack.use(new Spawned({ args: [...flags, 'receive', transports, String(bytes), address], signal }))
  await receiver.line()
  const opened = stack.move()
  return {
    sender,
    receiver,
    async transfer() {
      const seconds = receiver.line()
      receiver.tell('again')
      return Number(await seconds)
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  }
}

function report(bytes: number, rounds: readonly Round[]): Report {
  const over = (value: (round: Round) => number): Spread => spreadOf(rounds.map(value))
  const mib = bytes / 2 ** 20
  const cpu = (name: Name) => over((r) => r[name].result.senderCpuPerGib + r[name].result.receiverCpuPerGib)
  const rows = [
    {
      what: 'shoal ÷ raw stream, same transports',
      unit: '',
      values: over((r) => r.shoal.result.mibPerSecond / r.raw.result.mibPerSecond),
      aim: AIMS.ratio,
    },
    {
      what: 'shoal ÷ raw stream, stock libp2p',
      unit: '',
      values: over((r) => r.shoal.result.mibPerSecond / r.stock.result.mibPerSecond),
    },
    { what: 'shoal, verified to disk', unit: 'MiB/s', values: over((r) => r.shoal.result.mibPerSecond), digits: 0 },
    { what: 'raw stream, same transports', unit: 'MiB/s', values: over((r) => r.raw.result.mibPerSecond), digits: 0 },
    { what: 'raw stream, stock libp2p', unit: 'MiB/s', values: over((r) => r.stock.result.mibPerSecond), digits: 0 },
    { what: 'shoal: CPU of both ends', unit: 's/GiB', values: cpu('shoal'), aim: AIMS.cpu },
    { what: '… of the holder', unit: 's/GiB', values: over((r) => r.shoal.result.senderCpuPerGib) },
    { what: '… of the fetcher', unit: 's/GiB', values: over((r) => r.shoal.result.receiverCpuPerGib) },
    { what: 'raw stream, same transports: CPU of both ends', unit: 's/GiB', values: cpu('raw') },
    { what: 'raw stream, stock libp2p: CPU of both ends', unit: 's/GiB', values: cpu('stock') },
    { what: 'shoal: peak RSS of the holder', unit: 'MiB', values: over((r) => r.shoal.result.senderPeakMib), digits: 0 },
    { what: 'shoal: peak RSS of the fetcher', unit: 'MiB', values: over((r) => r.shoal.result.receiverPeakMib), digits: 0 },
  ]
  return {
    name: 'transfer',
    title: `${mib} MiB from daemon to daemon, verified to disk (${rounds.length} interleaved rounds)`,
    columns: COLUMNS,
    rows: rows.map(row),
    figures: { bytes, rounds },
    charts: { transfer: chart(mib, over) },
  }
}

function chart(mib: number, over: (value: (round: Round) => number) => Spread): string {
  const names = ['shoal', 'raw', 'stock'] as const
  const spreads = names.map((name) => over((r) => r[name].result.mibPerSecond))
  return barChart({
    title: `${mib} MiB between two processes, one hop`,
    yName: 'MiB/s',
    categories: ['shoal: verified, on disk', 'raw stream, same transports', 'raw stream, stock libp2p'],
    series: [
      { name: 'median', values: spreads.map((s) => s.median) },
      { name: 'slowest', values: spreads.map((s) => s.min) },
      { name: 'fastest', values: spreads.map((s) => s.max) },
    ],
    aim: { name: '0.8 of the raw stream', value: 0.8 * (spreads[1] as Spread).median },
  })
}
