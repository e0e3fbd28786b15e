/** Where the time goes at both ends of a transfer: V8's sampling profiler in both daemons, on each of their threads. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Benchmark, Context } from './lib/benchmark.ts'
import { barChart } from './lib/chart.ts'
import { type Frame, readProfiles, type SelfTime, selfTimes } from './lib/cpu-profile.ts'
import { Daemon } from './lib/daemon.ts'
import { inQuiet } from './lib/quiet.ts'
import type { Report } from './lib/report.ts'
import { warmMemory } from './lib/warm-memory.ts'

const GIB = 2 ** 30
/** Places that took less of a gigabyte's time are summed up. */
const LEAST_SECONDS = 0.03
const OTHER = 'other'

interface Thread {
  readonly name: string
  readonly places: readonly SelfTime[]
}

export const profile: Benchmark = {
  name: 'profile',
  about: 'where the CPU time of a 1 GiB transfer goes, at both ends',
  run: measure,
}

async function measure({ quick, dir, signal, say }: Context): Promise<Report> {
  const bytes = quick ? GIB / 8 : GIB
  const home = (name: string) => join(dir, name, 'data')
  const profiles = (name: string) => join(dir, name, 'profiles')
  for (const name of ['holder', 'fetcher']) await mkdir(profiles(name), { recursive: true })
  const flags = (name: string) => ['--cpu-prof', '--cpu-prof-interval=500', `--cpu-prof-dir=${profiles(name)}`]
  say(`adding ${bytes / 2 ** 20} MiB`)
  const digest = await addOnly(home('holder'), bytes, signal)
  let seconds = 0
  {
    await using holder = await Daemon.start({ dataDir: home('holder'), nodeFlags: flags('holder'), signal })
    const options = { dataDir: home('fetcher'), nodeFlags: flags('fetcher'), bootstrap: holder.addresses, signal }
    await using fetcher = await Daemon.start(options)
    await fetcher.untilFinds(await holder.add('first', 1))
    const fetch = async () => {
      await warmMemory(dir, bytes)
      return await fetcher.fetch(digest)
    }
    seconds = (await inQuiet({ say, signal }, fetch, 1)).result
  }
  const threads = ['holder', 'fetcher'].flatMap((end) =>
    readProfiles(profiles(end)).map((each, i) => ({
      name: `${end}, ${i === 0 ? 'event loop' : 'disk thread'}`,
      places: places(each),
    })),
  )
  return report(bytes, seconds, threads)
}

/** By a daemon of its own, so that the profiles show nothing of it. */
async function addOnly(dataDir: string, bytes: number, signal: AbortSignal): Promise<string> {
  await using daemon = await Daemon.start({ dataDir, signal })
  return await daemon.add('profile', bytes)
}

function places(profile: Parameters<typeof selfTimes>[0]): SelfTime[] {
  const all = selfTimes(profile, placeOf)
  const small = all.filter((each) => each.seconds < LEAST_SECONDS || each.place === OTHER)
  const rest = small.reduce((sum, { seconds }) => sum + seconds, 0)
  return [...all.filter((each) => !small.includes(each)), { place: OTHER, seconds: rest }]
}

function placeOf({ functionName, url }: Frame): string {
  if (functionName === '(garbage collector)') return 'garbage collection'
  if (functionName === 'writeBuffer' || functionName === 'writev') return 'system calls: write'
  if (functionName === 'read') return 'system calls: read'
  if (functionName === 'postMessage') return 'messages between threads'
  if (url.includes('internal/crypto/cipher')) return 'encryption (Noise)'
  if (url.includes('internal/crypto/hash')) return 'SHA-256'
  if (/modules\/|amaro/.test(url) && url.startsWith('node:')) return 'loading the program'
  const ours = /\/(src|protocols)\/([\w-]+)/.exec(url)
  if (ours !== null && !url.includes('node_modules')) return `shoal: ${ours[1]}/${ours[2]}`
  if (url.includes('node_modules')) return `libraries: ${/node_modules\/((?:@[\w-]+\/)?[\w.-]+)/.exec(url)?.[1]}`
  return url.startsWith('node:') ? 'Node.js itself' : OTHER
}

function report(bytes: number, seconds: number, threads: readonly Thread[]): Report {
  const perGib = (value: number) => ((value * GIB) / bytes).toFixed(2)
  const rows = threads.flatMap(({ name, places }) => {
    const all = places.reduce((sum, place) => sum + place.seconds, 0)
    return [[name, 'all', perGib(all)], ...places.map((place) => ['', place.place, perGib(place.seconds)])]
  })
  const main = threads.filter(({ name }) => name.endsWith('event loop'))
  const names = [...new Set(main.flatMap(({ places }) => places.slice(0, 6).map(({ place }) => place)))]
  return {
    name: 'profile',
    title: `Where the time goes: ${bytes / 2 ** 20} MiB in ${seconds.toFixed(1)} s with the profiler on`,
    columns: ['thread', 'place', 's/GiB'],
    rows,
    figures: { bytes, seconds, threads },
    charts: {
      profile: barChart({
        title: 'Event loops: seconds at work for a GiB, by place',
        yName: 's/GiB',
        categories: names,
        series: main.map(({ name, places }) => ({
          name,
          values: names.map((name) => ((places.find(({ place }) => place === name)?.seconds ?? 0) * GIB) / bytes),
        })),
      }),
    },
  }
}
