import { mkdirSync } from 'node:fs'
import { readProfiles, type SelfTime, selfTimes } from '../lib/cpu-profile.ts'
import { terminalTable } from '../lib/report.ts'

export interface ProfileOptions {
  readonly host: number
  /** Where V8 writes the profiles, when the daemon ends. */
  readonly dir: string
}

const FUNCTIONS = 30
const PARTS = 20

export function profileFlags({ dir }: ProfileOptions): readonly string[] {
  mkdirSync(dir, { recursive: true })
  return ['--cpu-prof', '--cpu-prof-interval=500', `--cpu-prof-dir=${dir}`]
}

/** Where each thread was at work itself, by part and by function, most first. @param startMicros of the crowd, by the monotonic clock */
export function profileText({ host, dir }: ProfileOptions, startMicros: number): string {
  const threads = readProfiles(dir).map((profile, i) => {
    const parts = selfTimes(profile, ({ functionName, url }) => partOf(url) ?? functionName, startMicros)
    const functions = selfTimes(
      profile,
      ({ functionName, url }) => `${functionName || '(anonymous)'}  ${shortened(url)}`,
      startMicros,
    )
    const all = parts.reduce((sum, { seconds }) => sum + seconds, 0)
    const name = i === 0 ? 'event loop' : 'other thread'
    const tables = [table('part', parts.slice(0, PARTS), all), table('function', functions.slice(0, FUNCTIONS), all)]
    return [`${name} of host ${host}: ${all.toFixed(1)} s at work`, ...tables].join('\n')
  })
  return threads.join('\n')
}

function table(what: string, places: readonly SelfTime[], all: number): string {
  const rows = places.map(({ place, seconds }) => [seconds.toFixed(2), `${((100 * seconds) / all).toFixed(1)} %`, place])
  return terminalTable(['s', 'share', what], rows)
}

/** A folder of ours, a package, or a module of Node.js; `undefined` for what V8 does by itself. */
function partOf(url: string): string | undefined {
  const library = /.*\/node_modules\/((?:@[\w-]+\/)?[\w.-]+)/.exec(url)?.[1]
  return library ?? /\/((?:src|protocols)\/[\w-]+)/.exec(url)?.[1] ?? (url === '' ? undefined : url)
}

function shortened(url: string): string {
  return /.*\/node_modules\/(.*)/.exec(url)?.[1] ?? /\/((?:src|protocols)\/.*)/.exec(url)?.[1] ?? url
}
