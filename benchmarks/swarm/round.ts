import { cpus } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import type { Image } from '../../examples/demo/image.ts'
import { blobBytes } from './access-log.ts'
import { lowerBoundSeconds } from './bound.ts'
import { machineTicks } from './counters.ts'
import { Crowd } from './crowd.ts'
import { type Figures, figuresOf, type HostOutcome } from './figures.ts'
import type { HostDaemon } from './host-daemon.ts'
import { type Origin, openRegistry } from './origin.ts'
import { Reader, type Reading } from './reader.ts'
import type { Scenario } from './scenario.ts'
import { openSite } from './site.ts'
import { type PieceHeld, parsePieceLine } from './timeline.ts'
import { sampleUsage, type Usage } from './usage-samples.ts'

export interface RoundOptions {
  readonly scenario: Scenario
  readonly image: Image
  /** As `fillRegistry` left it. */
  readonly registryDir: string
  /** An empty directory of the round's own. */
  readonly dir: string
  readonly loopback: boolean
  readonly onLog?: ((host: number, line: string) => void) | undefined
  readonly signal: AbortSignal
  say(what: string): void
}

/** A round that takes so many times what arithmetic allows, and this much more, has failed. */
const PATIENCE = 6
const PATIENCE_S = 30

/** Figures, and what they were made from. */
export interface Round {
  readonly figures: Figures
  /** Of the crowd's start: milliseconds since the epoch. */
  readonly start: number
  /** In traced scenarios. */
  readonly held: readonly PieceHeld[]
}

/** One crowd, from cold daemons to the last client's end. */
export async function runRound(options: RoundOptions): Promise<Round> {
  const { scenario, image, dir, loopback, signal, say } = options
  const { hosts, mbit } = scenario
  const mbits = Array.from({ length: hosts }, (_, i) => scenario.mbitOf?.(i + 1, mbit) ?? mbit)
  await using stack = new AsyncDisposableStack()
  const site = stack.use(openSite([mbit, ...mbits], loopback))
  const origin = stack.use(await openRegistry({ site, dir: options.registryDir, signal }))
  say(`starting ${hosts} daemons`)
  const logLevel = scenario.traced === true ? 'trace' : 'warn'
  const held: PieceHeld[] = []
  const onLog = (host: number, line: string): void => {
    options.onLog?.(host, line)
    const piece = parsePieceLine(host, line)
    if (piece !== undefined) held.push(piece)
  }
  const crowd = stack.use(
    await Crowd.open({ site, hosts, dir, originUrl: origin.url, logLevel, cores: cpus().length, onLog, signal }),
  )
  const wanted = scenario.image === true ? [image.config, ...image.layers] : image.layers
  const bytes = wanted.reduce((sum, { size }) => sum + size, 0)
  const counted = mbits.filter((_, i) => scenario.aside?.(i + 1) !== true)
  const boundS = lowerBoundSeconds({ bytes, originMbit: mbit, mbits: counted })
  const timeoutS = PATIENCE * boundS + PATIENCE_S + (scenario.staggerS ?? 0) * hosts
  const readers = crowd.daemons.map((daemon) =>
    stack.use(
      new Reader({
        site,
        daemon,
        image: scenario.image === true,
        blobs: wanted,
        check: scenario.check === true,
        timeoutS,
        signal,
      }),
    ),
  )
  const before = measure(crowd, origin)
  say(`reading ${(bytes / 2 ** 20).toFixed(1)} MiB on each`)
  const start = Date.now()
  const usage: Usage[] = []
  const ended = new AbortController()
  const sampling = sampleUsage({ sentBytes: () => origin.link?.sent, mbit, into: usage, signal: ended.signal })
  const readings = await race(readers, scenario.staggerS ?? 0, signal).finally(() => ended.abort())
  await sampling
  const after = measure(crowd, origin)
  const outcomes = await Promise.all(
    crowd.daemons.map(async (daemon, i) => outcomeOf(daemon, readings[i] as Reading, i, before, after)),
  )
  const figures = figuresOf({
    bytes,
    boundS: loopback ? undefined : boundS,
    outcomes: outcomes.filter(({ host }) => scenario.aside?.(host) !== true),
    cpuSeconds: after.cpuSeconds - before.cpuSeconds,
    machineShare: (after.ticks.busy - before.ticks.busy) / Math.max(1, after.ticks.all - before.ticks.all),
    originLinkBytes: loopback ? undefined : (after.originLink?.sent ?? 0) - (before.originLink?.sent ?? 0),
    originBodyBytes: blobBytes(origin.requests),
    originRequests: origin.requests.length,
    usage,
  })
  return { figures, start, held }
}

async function race(readers: readonly Reader[], staggerS: number, signal: AbortSignal): Promise<Reading[]> {
  const t0 = performance.now()
  return Promise.all(
    readers.map(async (reader, i) => {
      if (staggerS > 0 && i > 0) await delay(i * staggerS * 1_000, undefined, { signal })
      return reader.read(t0)
    }),
  )
}

type Measure = ReturnType<typeof measure>

function measure(crowd: Crowd, origin: Origin) {
  const hosts = crowd.daemons.map(({ usage, link }) => ({ usage, link }))
  return { hosts, cpuSeconds: crowd.cpuSeconds, ticks: machineTicks(), originLink: origin.link }
}

async function outcomeOf(daemon: HostDaemon, reading: Reading, i: number, before: Measure, after: Measure): Promise<HostOutcome> {
  const metrics = daemon.killed ? new Map<string, number>() : await daemon.metrics()
  const value = (name: string): number => metrics.get(name) ?? 0
  const [first, last] = [before.hosts[i], after.hosts[i]]
  return {
    host: daemon.host,
    killed: daemon.killed,
    ...reading,
    cpuSeconds: (last?.usage.cpuSeconds ?? 0) - (first?.usage.cpuSeconds ?? 0),
    peakRssMiB: last?.usage.peakRssMiB ?? 0,
    sentBytes: (last?.link?.sent ?? 0) - (first?.link?.sent ?? 0),
    receivedBytes: (last?.link?.received ?? 0) - (first?.link?.received ?? 0),
    fromOriginBytes: value('shoal_download_bytes_total{source="origin"}'),
    fromPeersBytes: value('shoal_download_bytes_total{source="peer"}'),
    wastedBytes: value('shoal_wasted_bytes_total'),
    failedPieces: ['peer', 'origin', 'disk'].reduce((sum, at) => sum + value(`shoal_pieces_failed_total{where="${at}"}`), 0),
  }
}
