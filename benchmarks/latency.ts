/** (c) How soon bytes come of what a peer holds and this node does not, through the mirror. */
import { Pool } from 'undici'
import { type Aim, COLUMNS, row } from './lib/aim.ts'
import type { Benchmark, Context } from './lib/benchmark.ts'
import { barChart } from './lib/chart.ts'
import { type Daemon, startPair } from './lib/daemon.ts'
import { inQuiet, type Quiet } from './lib/quiet.ts'
import type { Report } from './lib/report.ts'
import { quantile, spreadOf } from './lib/stats.ts'

const AIMS = {
  firstByteMs: { than: 'less', value: 50 },
  p50Ms: { than: 'less', value: 2 },
  perSecond: { than: 'more', value: 1_000 },
} as const satisfies Record<string, Aim>
const SMALL_BYTES = 16 * 1024
const AT_A_TIME = 16

interface Small {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly perSecond: number
}

export const latency: Benchmark = {
  name: 'latency',
  about: 'time to first byte of a large blob, and 16 KiB blobs one and 16 at a time, from a peer through the mirror',
  run: measure,
}

async function measure({ quick, dir, signal, say }: Context): Promise<Report> {
  const largeBytes = (quick ? 64 : 256) * 2 ** 20
  const [large, rounds, blobs] = quick ? [2, 1, 50] : [7, 5, 200]
  await using pair = await startPair(dir, { signal })
  const { holder, fetcher } = pair
  say(`adding ${large + 1} blobs of ${largeBytes / 2 ** 20} MiB and ${2 * (rounds + 1) * blobs} of 16 KiB`)
  const larges = await addAll(holder, 'large', large + 1, largeBytes)
  const smalls = await addAll(holder, 'small', 2 * (rounds + 1) * blobs, SMALL_BYTES)
  await fetcher.untilFinds(await holder.add('added last', SMALL_BYTES))
  say('waiting until the holder has announced it all')
  await holder.untilCalm()

  // once each: a blob is new to the fetching node only the first time
  const quietly = <T>(measure: () => Promise<T>) => inQuiet({ say, signal }, measure, 1)
  const firstByteMs: Quiet<number>[] = []
  for (const [i, digest] of larges.entries()) {
    const ms = await quietly(() => firstByte(fetcher, digest, signal))
    say(`${i === 0 ? 'warm-up' : `large blob ${i} of ${large}`}: first byte after ${ms.result.toFixed(1)} ms`)
    if (i > 0) firstByteMs.push(ms)
  }
  const one: Quiet<Small>[] = []
  const many: Quiet<Small>[] = []
  for (let i = 0; i <= rounds; i++) {
    const single = await quietly(() => pull(fetcher, smalls.splice(0, blobs), 1))
    const crowd = await quietly(() => pull(fetcher, smalls.splice(0, blobs), AT_A_TIME))
    say(
      `${i === 0 ? 'warm-up' : `round ${i} of ${rounds}`}: p50 ${single.result.p50Ms.toFixed(2)} ms, ${crowd.result.perSecond.toFixed(0)} a second`,
    )
    if (i > 0) one.push(single)
    if (i > 0) many.push(crowd)
  }
  return report({ largeBytes, blobs, firstByteMs, one, many })
}

async function addAll(holder: Daemon, name: string, count: number, bytes: number): Promise<string[]> {
  const digests: string[] = []
  for (let i = 0; i < count; i++) digests.push(await holder.add(`${name} ${i}`, bytes))
  return digests
}

/** On a connection that is open already; then the reader goes away. @returns milliseconds */
async function firstByte(fetcher: Daemon, digest: string, signal: AbortSignal): Promise<number> {
  await using pool = pooled(fetcher.mirror, 1)
  await (await pool.request({ path: '/v2/', method: 'GET' })).body.dump()
  const leaving = new AbortController()
  const started = performance.now()
  const { statusCode, body } = await pool.request({
    path: new URL(fetcher.blobUrl(digest)).pathname,
    method: 'GET',
    signal: AbortSignal.any([signal, leaving.signal]),
  })
  if (statusCode !== 200) throw new Error(`${digest}: ${statusCode}`)
  for await (const _ of body) {
    const ms = performance.now() - started
    body.destroy()
    leaving.abort()
    return ms
  }
  throw new Error(`${digest}: no body`)
}

/** Each blob once, on so many keep-alive connections. */
async function pull(fetcher: Daemon, digests: readonly string[], atATime: number): Promise<Small> {
  await using pool = pooled(fetcher.mirror, atATime)
  await Promise.all(
    Array.from({ length: atATime }, async () => (await pool.request({ path: '/v2/', method: 'GET' })).body.dump()),
  )
  const queue = [...digests]
  const took: number[] = []
  const started = performance.now()
  await Promise.all(
    Array.from({ length: atATime }, async () => {
      for (let digest = queue.shift(); digest !== undefined; digest = queue.shift()) {
        const asked = performance.now()
        const { statusCode, body } = await pool.request({ path: new URL(fetcher.blobUrl(digest)).pathname, method: 'GET' })
        const { byteLength } = await body.arrayBuffer()
        if (statusCode !== 200 || byteLength !== SMALL_BYTES) throw new Error(`${digest}: ${statusCode}, ${byteLength} bytes`)
        took.push(performance.now() - asked)
      }
    }),
  )
  const perSecond = (digests.length * 1_000) / (performance.now() - started)
  took.sort((a, b) => a - b)
  return { p50Ms: quantile(took, 0.5), p99Ms: quantile(took, 0.99), perSecond }
}

function pooled(origin: string, connections: number): Pool & AsyncDisposable {
  const pool = new Pool(origin, { connections, pipelining: 1 })
  return Object.assign(pool, { [Symbol.asyncDispose]: () => pool.destroy() })
}

interface Figures {
  readonly largeBytes: number
  readonly blobs: number
  readonly firstByteMs: readonly Quiet<number>[]
  readonly one: readonly Quiet<Small>[]
  readonly many: readonly Quiet<Small>[]
}

function report(figures: Figures): Report {
  const { largeBytes, blobs, firstByteMs, one, many } = figures
  const over = (smalls: readonly Quiet<Small>[], value: keyof Small) => spreadOf(smalls.map(({ result }) => result[value]))
  const rows = [
    {
      what: `first byte of ${largeBytes / 2 ** 20} MiB`,
      unit: 'ms',
      values: spreadOf(firstByteMs.map(({ result }) => result)),
      aim: AIMS.firstByteMs,
      digits: 1,
    },
    { what: `${blobs} × 16 KiB, one at a time: p50`, unit: 'ms', values: over(one, 'p50Ms'), aim: AIMS.p50Ms },
    { what: '… p99', unit: 'ms', values: over(one, 'p99Ms') },
    {
      what: `${blobs} × 16 KiB, ${AT_A_TIME} at a time`,
      unit: 'a second',
      values: over(many, 'perSecond'),
      aim: AIMS.perSecond,
      digits: 0,
    },
    { what: '… p50', unit: 'ms', values: over(many, 'p50Ms') },
    { what: '… p99', unit: 'ms', values: over(many, 'p99Ms') },
  ]
  const categories = ['one at a time: p50', 'p99', '16 at a time: p50', 'p99']
  const spreads = [over(one, 'p50Ms'), over(one, 'p99Ms'), over(many, 'p50Ms'), over(many, 'p99Ms')]
  return {
    name: 'latency',
    title: `From a peer through the mirror: first bytes and small blobs (${one.length} rounds)`,
    columns: COLUMNS,
    rows: rows.map(row),
    figures,
    charts: {
      latency: barChart({
        title: '16 KiB blobs from a peer through the mirror',
        yName: 'ms',
        categories,
        series: [
          { name: 'median', values: spreads.map((s) => s.median) },
          { name: 'slowest round', values: spreads.map((s) => s.max) },
        ],
        aim: { name: 'p50 one at a time', value: AIMS.p50Ms.value },
      }),
    },
  }
}
