import { cpus } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { ImageBlob } from '../../examples/demo/image.ts'
import { blobBytes, type OriginRequest } from './access-log.ts'
import { lowerBoundSeconds } from './bound.ts'
import { Containerd } from './containerd.ts'
import { machineTicks } from './counters.ts'
import { Crowd } from './crowd.ts'
import { ctrClient } from './ctr-client.ts'
import { type Figures, figuresOf, type HostOutcome } from './figures.ts'
import { type Judged, judge } from './judge.ts'
import { type Origin, openBrokenOrigin, openRegistry } from './origin.ts'
import { imageOptions, type Prepared } from './prepare.ts'
import { type ProfileOptions, profileFlags } from './profile.ts'
import { Progress } from './progress.ts'
import { Reader, type Reading } from './reader.ts'
import { httpClient } from './reader-script.ts'
import type { Scenario } from './scenario.ts'
import { openSite, type Site } from './site.ts'
import type { PieceHeld } from './timeline.ts'
import { sampleUsage, type Usage } from './usage-samples.ts'

export interface RoundOptions extends Pick<Prepared, 'image' | 'warm' | 'registryDir'> {
  readonly scenario: Scenario
  /** An empty directory of the round's own. */
  readonly dir: string
  readonly loopback: boolean
  readonly profile?: ProfileOptions | undefined
  readonly onLog?: ((host: number, line: string) => void) | undefined
  readonly signal: AbortSignal
  say(what: string): void
}

/** Figures, and what they were made from. */
export interface Round {
  readonly figures: Figures
  /** Of the crowd's start: milliseconds since the epoch. */
  readonly start: number
  /** The same by the monotonic clock. */
  readonly startMicros: number
  /** In traced scenarios. */
  readonly held: readonly PieceHeld[]
  /** Of all layers. */
  readonly pieces: number
  /** What the origin has answered since the start. */
  readonly requests: readonly OriginRequest[]
}

/** A round that takes so many times what arithmetic allows, and this much more, has failed. */
const PATIENCE = 6
const PATIENCE_S = 60
/** For what is pulled before. */
const WARM_S = 120

/** One crowd, from cold daemons to the last client's end. */
export async function runRound(options: RoundOptions): Promise<Round> {
  const { scenario, loopback, profile, signal, say } = options
  const plan = planOf(options)
  await using stack = new AsyncDisposableStack()
  const site = stack.use(openSite([scenario.mbit, ...plan.mbits], loopback))
  const origin = stack.use(await openOrigin(options, site))
  const progress = new Progress(options.image.layers, scenario.hosts)
  say(`starting ${scenario.hosts} daemons`)
  const crowd = stack.use(await openCrowd(options, site, origin, progress))
  if (scenario.fresh !== true) await warmUp(options, site, crowd)
  const readers = await openReaders(options, plan, site, crowd, stack)

  const before = measure(crowd, origin)
  say(`reading ${(plan.bytes / 2 ** 20).toFixed(1)} MiB on each`)
  const [start, startMicros] = [Date.now(), Number(process.hrtime.bigint() / 1_000n)]
  const usage: Usage[] = []
  const over = new AbortController()
  const meanwhile = AbortSignal.any([over.signal, signal])
  const background = [
    sampleUsage({ sentBytes: () => origin.link?.sent, mbit: scenario.mbit, into: usage, signal: meanwhile }),
    disturb(options, { crowd, origin, readers, progress }, meanwhile),
  ]
  const racing = race(readers, scenario, signal)
  const readings = await crowd.whileRunning(racing, ...background).finally(() => over.abort())
  await Promise.all(background)
  const after = measure(crowd, origin)

  const figures = await conclude(options, plan, { crowd, origin, readings, before, after, usage })
  await crowd.daemons.find(({ host }) => host === profile?.host)?.stop()
  const requests = origin.requests.slice(before.requests)
  return { figures, start, startMicros, held: progress.held, pieces: progress.pieces, requests }
}

interface Plan {
  /** Each way, of each host. */
  readonly mbits: readonly number[]
  /** What each client reads. */
  readonly blobs: readonly ImageBlob[]
  readonly bytes: number
  readonly boundS: number
}

function planOf({ scenario, image }: RoundOptions): Plan {
  const { hosts, mbit, mbitOf } = scenario
  const mbits = Array.from({ length: hosts }, (_, i) => mbitOf?.(i + 1, mbit) ?? mbit)
  const blobs = scenario.image === true ? [image.config, ...image.layers] : image.layers
  const bytes = blobs.reduce((sum, { size }) => sum + size, 0)
  const asked = mbits.filter((_, i) => !isAside(scenario, i + 1))
  return { mbits, blobs, bytes, boundS: lowerBoundSeconds({ bytes, originMbit: mbit, mbits: asked }) }
}

function isAside({ aside }: Scenario, host: number): boolean {
  return aside?.(host) === true
}

function openOrigin({ scenario, registryDir, signal }: RoundOptions, site: Site): Promise<Origin> {
  return scenario.faults === undefined
    ? openRegistry(site, registryDir, signal)
    : openBrokenOrigin(site, imageOptions(scenario), scenario.faults, signal)
}

function openCrowd(options: RoundOptions, site: Site, origin: Origin, progress: Progress): Promise<Crowd> {
  const { scenario, dir, signal, onLog, profile } = options
  const { hosts, programOf, traced, disturb } = scenario
  return Crowd.open({
    site,
    hosts,
    dir,
    originUrl: origin.url,
    logLevel: traced === true || disturb !== undefined ? 'trace' : 'warn',
    cores: cpus().length,
    programOf,
    nodeFlagsOf: (host) => (host === profile?.host ? profileFlags(profile) : undefined),
    onLog(host, line) {
      onLog?.(host, line)
      progress.hear(host, line)
    },
    signal,
  })
}

async function openReaders(
  { scenario, dir, signal }: RoundOptions,
  { blobs, boundS }: Plan,
  site: Site,
  crowd: Crowd,
  stack: AsyncDisposableStack,
): Promise<Reader[]> {
  const { hosts, image = false, check = false, staggerS = 0 } = scenario
  const timeoutS = PATIENCE * boundS + PATIENCE_S + staggerS * hosts
  const readers: Reader[] = []
  for (const { host, mirror } of crowd.daemons) {
    const scratch = join(dir, `read-${host}`)
    const runtime =
      scenario.containerd === true ? stack.use(await Containerd.start({ site, host, mirror, dir: scratch, signal })) : undefined
    const client =
      runtime === undefined
        ? httpClient({ mirror, image, blobs, check, scratch, timeoutS })
        : ctrClient({ containerd: runtime, blobs, timeoutS })
    readers.push(stack.use(new Reader({ site, host, client, blobs, check, timeoutS, runtime, signal })))
  }
  return readers
}

/** All pull something else together. */
async function warmUp({ warm, dir, signal, say }: RoundOptions, site: Site, crowd: Crowd): Promise<void> {
  say('reading something else first')
  const t0 = performance.now()
  const common = { image: false, blobs: warm.layers, check: false, timeoutS: WARM_S }
  const readers = crowd.daemons.map(({ host, mirror }) => {
    const client = httpClient({ ...common, mirror, scratch: join(dir, `warm-${host}`) })
    return new Reader({ ...common, site, host, client, signal })
  })
  const readings = await Promise.all(readers.map((reader) => reader.read(t0)))
  const failure = readings.find((reading) => reading.failure !== undefined)?.failure
  if (failure !== undefined) throw new Error(`the crowd could not pull what it was to be warmed up with: ${failure}`)
  await crowd.calm()
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
async function race(readers: readonly Reader[], scenario: Scenario, signal: AbortSignal): Promise<Reading[]> {
  const { staggerS = 0 } = scenario
  const t0 = performance.now()
  const reading = readers.map(async (reader, i) => {
    if (staggerS > 0 && i > 0) await delay(i * staggerS * 1_000, undefined, { signal })
    return reader.read(t0)
  })
  for (const each of reading) each.catch(() => {})
  await Promise.all(reading.filter((_, i) => !isAside(scenario, i + 1)))
  for (const [i, reader] of readers.entries()) if (isAside(scenario, i + 1)) reader.kill()
  return Promise.all(reading)
}

type Measure = ReturnType<typeof measure>

function measure(crowd: Crowd, origin: Origin) {
  const hosts = crowd.daemons.map(({ usage, link }) => ({ usage, link }))
  return { hosts, cpuSeconds: crowd.cpuSeconds, ticks: machineTicks(), originLink: origin.link, requests: origin.requests.length }
}

interface Ended {
  readonly crowd: Crowd
  readonly origin: Origin
  readonly readings: readonly Reading[]
  readonly before: Measure
  readonly after: Measure
  readonly usage: readonly Usage[]
}

async function conclude({ scenario, loopback }: RoundOptions, { blobs, bytes, boundS }: Plan, ended: Ended): Promise<Figures> {
  const { crowd, origin, before, after, usage } = ended
  const asked = crowd.daemons.filter(({ host }) => !isAside(scenario, host))
  const judged = await Promise.all(asked.map((daemon) => judge(daemon, blobs, scenario.check === true)))
  const liars = crowd.daemons.filter(({ host }) => scenario.programOf?.(host) !== undefined)
  return figuresOf({
    bytes,
    boundS: loopback ? undefined : boundS,
    outcomes: asked.map(({ host, killed }, i) => outcomeOf(host, killed, ended, judged[i] as Judged)),
    cpuSeconds: after.cpuSeconds - before.cpuSeconds,
    machineShare: (after.ticks.busy - before.ticks.busy) / Math.max(1, after.ticks.all - before.ticks.all),
    originLinkBytes: loopback ? undefined : (after.originLink?.sent ?? 0) - (before.originLink?.sent ?? 0),
    originBodyBytes: blobBytes(origin.requests.slice(before.requests)),
    originRequests: origin.requests.length - before.requests,
    onePullRequests: requestsOfOnePull(scenario, blobs),
    liars: liars.map(({ peerId }) => peerId),
    usage,
  })
}

function outcomeOf(host: number, killed: boolean, { readings, before, after }: Ended, judged: Judged): HostOutcome {
  const [first, last] = [before.hosts[host - 1], after.hosts[host - 1]]
  return {
    host,
    killed,
    ...(readings[host - 1] as Reading),
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
