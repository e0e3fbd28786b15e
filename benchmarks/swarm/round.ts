import { cpus } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { ImageBlob } from '../../examples/demo/image.ts'
import { blobBytes } from './access-log.ts'
import { lowerBoundSeconds } from './bound.ts'
import { machineTicks } from './counters.ts'
import { Crowd } from './crowd.ts'
import { type Figures, figuresOf, type HostOutcome } from './figures.ts'
import { type Judged, judge } from './judge.ts'
import { type Origin, openBrokenOrigin, openRegistry } from './origin.ts'
import { imageOptions, type Prepared } from './prepare.ts'
import { Progress } from './progress.ts'
import { Reader, type Reading } from './reader.ts'
import type { Scenario } from './scenario.ts'
import { openSite, type Site } from './site.ts'
import type { PieceHeld } from './timeline.ts'
import { sampleUsage, type Usage } from './usage-samples.ts'

export interface RoundOptions extends Pick<Prepared, 'image' | 'registryDir'> {
  readonly scenario: Scenario
  /** An empty directory of the round's own. */
  readonly dir: string
  readonly loopback: boolean
  readonly onLog?: ((host: number, line: string) => void) | undefined
  readonly signal: AbortSignal
  say(what: string): void
}

/** Figures, and what they were made from. */
export interface Round {
  readonly figures: Figures
  /** Of the crowd's start: milliseconds since the epoch. */
  readonly start: number
  /** In traced scenarios. */
  readonly held: readonly PieceHeld[]
  /** Of all layers. */
  readonly pieces: number
}

/** A round that takes so many times what arithmetic allows, and this much more, has failed. */
const PATIENCE = 6
const PATIENCE_S = 30

/** One crowd, from cold daemons to the last client's end. */
export async function runRound(options: RoundOptions): Promise<Round> {
  const { scenario, image, dir, loopback, signal, say } = options
  const { hosts, mbit, staggerS = 0, check = false } = scenario
  const isAside = (host: number): boolean => scenario.aside?.(host) === true
  const mbits = Array.from({ length: hosts }, (_, i) => scenario.mbitOf?.(i + 1, mbit) ?? mbit)
  const blobs = scenario.image === true ? [image.config, ...image.layers] : image.layers
  const bytes = blobs.reduce((sum, { size }) => sum + size, 0)
  const boundS = lowerBoundSeconds({ bytes, originMbit: mbit, mbits: mbits.filter((_, i) => !isAside(i + 1)) })
  const timeoutS = PATIENCE * boundS + PATIENCE_S + staggerS * hosts

  await using stack = new AsyncDisposableStack()
  const site = stack.use(openSite([mbit, ...mbits], loopback))
  const origin = stack.use(await openOrigin(options, site))
  const progress = new Progress(image.layers, hosts)
  say(`starting ${hosts} daemons`)
  const crowd = stack.use(await openCrowd(options, site, origin, progress))
  const readers = crowd.daemons.map((daemon) => {
    const scratch = join(dir, `read-${daemon.host}`)
    return stack.use(new Reader({ site, daemon, image: scenario.image === true, blobs, check, scratch, timeoutS, signal }))
  })

  const before = measure(crowd, origin)
  say(`reading ${(bytes / 2 ** 20).toFixed(1)} MiB on each`)
  const start = Date.now()
  const usage: Usage[] = []
  const over = new AbortController()
  const meanwhile = AbortSignal.any([over.signal, signal])
  const background = [
    sampleUsage({ sentBytes: () => origin.link?.sent, mbit, into: usage, signal: meanwhile }),
    disturb(options, { crowd, origin, readers, progress }, meanwhile),
  ]
  const readings = await crowd
    .whileRunning(race(readers, { staggerS, isAside, signal }), ...background)
    .finally(() => over.abort())
  await Promise.all(background)
  const after = measure(crowd, origin)

  const asked = crowd.daemons.filter(({ host }) => !isAside(host))
  const judged = await Promise.all(asked.map((daemon) => judge(daemon, blobs, check)))
  const outcomes = asked.map((daemon, i) =>
    outcomeOf(daemon.host - 1, daemon.killed, readings, before, after, judged[i] as Judged),
  )
  const liars = crowd.daemons.filter(({ host }) => scenario.programOf?.(host) !== undefined)
  const figures = figuresOf({
    bytes,
    boundS: loopback ? undefined : boundS,
    outcomes,
    cpuSeconds: after.cpuSeconds - before.cpuSeconds,
    machineShare: (after.ticks.busy - before.ticks.busy) / Math.max(1, after.ticks.all - before.ticks.all),
    originLinkBytes: loopback ? undefined : (after.originLink?.sent ?? 0) - (before.originLink?.sent ?? 0),
    originBodyBytes: blobBytes(origin.requests),
    originRequests: origin.requests.length,
    onePullRequests: requestsOfOnePull(scenario, blobs),
    liars: liars.map(({ peerId }) => peerId),
    usage,
  })
  return { figures, start, held: progress.held, pieces: progress.pieces }
}

function openOrigin({ scenario, registryDir, signal }: RoundOptions, site: Site): Promise<Origin> {
  return scenario.faults === undefined
    ? openRegistry(site, registryDir, signal)
    : openBrokenOrigin(site, imageOptions(scenario), scenario.faults, signal)
}

function openCrowd(
  { scenario, dir, signal, onLog }: RoundOptions,
  site: Site,
  origin: Origin,
  progress: Progress,
): Promise<Crowd> {
  const { hosts, programOf, traced, disturb } = scenario
  const logLevel = traced === true || disturb !== undefined ? 'trace' : 'warn'
  const hear = (host: number, line: string): void => {
    onLog?.(host, line)
    progress.hear(host, line)
  }
  return Crowd.open({ site, hosts, dir, originUrl: origin.url, logLevel, cores: cpus().length, programOf, onLog: hear, signal })
}

interface Running {
  readonly crowd: Crowd
  readonly origin: Origin
  readonly readers: readonly Reader[]
  readonly progress: Progress
}

/** Runs the scenario's disturbance, until it has nothing more to do or the crowd has finished. */
async function disturb(options: RoundOptions, { crowd, origin, readers, progress }: Running, signal: AbortSignal): Promise<void> {
  const { scenario, image, say } = options
  const layer = image.layers.reduce((largest, each) => (each.size > largest.size ? each : largest))
  try {
    await scenario.disturb?.({
      crowd,
      origin,
      layer,
      kill: async (daemon) => {
        say(`killing host ${daemon.host}`)
        readers[daemon.host - 1]?.kill()
        await daemon.kill()
      },
      untilHeld: (part) => progress.until(({ heldPart }) => heldPart >= part, signal),
      untilImported: (part) => progress.until(({ importedPart }) => importedPart >= part, signal),
      say,
    })
  } catch (error) {
    if (!signal.aborted) throw error
  }
}

/** Sets the clients going; when those that are asked about have ended, the others are ended too. */
async function race(
  readers: readonly Reader[],
  { staggerS, isAside, signal }: { staggerS: number; isAside: (host: number) => boolean; signal: AbortSignal },
): Promise<Reading[]> {
  const t0 = performance.now()
  const reading = readers.map(async (reader, i) => {
    if (staggerS > 0 && i > 0) await delay(i * staggerS * 1_000, undefined, { signal })
    return reader.read(t0)
  })
  for (const each of reading) each.catch(() => {})
  await Promise.all(reading.filter((_, i) => !isAside(i + 1)))
  for (const [i, reader] of readers.entries()) if (isAside(i + 1)) reader.kill()
  return Promise.all(reading)
}

type Measure = ReturnType<typeof measure>

function measure(crowd: Crowd, origin: Origin) {
  const hosts = crowd.daemons.map(({ usage, link }) => ({ usage, link }))
  return { hosts, cpuSeconds: crowd.cpuSeconds, ticks: machineTicks(), originLink: origin.link }
}

function outcomeOf(
  i: number,
  killed: boolean,
  readings: readonly Reading[],
  before: Measure,
  after: Measure,
  judged: Judged,
): HostOutcome {
  const [first, last] = [before.hosts[i], after.hosts[i]]
  return {
    host: i + 1,
    killed,
    ...(readings[i] as Reading),
    ...judged,
    cpuSeconds: (last?.usage.cpuSeconds ?? 0) - (first?.usage.cpuSeconds ?? 0),
    peakRssMiB: last?.usage.peakRssMiB ?? 0,
    sentBytes: (last?.link?.sent ?? 0) - (first?.link?.sent ?? 0),
    receivedBytes: (last?.link?.received ?? 0) - (first?.link?.received ?? 0),
  }
}

/** What containerd asks a registry for when there is no mirror: the tag, the manifest, and each blob. */
function requestsOfOnePull({ image }: Scenario, blobs: readonly ImageBlob[]): number {
  return blobs.length + (image === true ? 2 : 0)
}
