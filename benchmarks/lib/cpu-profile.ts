import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** What `node --cpu-prof` writes, as far as it is read here. */
export interface CpuProfile {
  readonly nodes: readonly ProfileNode[]
  /** Microseconds of the system's monotonic clock. */
  readonly startTime: number
  readonly samples: readonly number[]
  /** Microseconds since the sample before. */
  readonly timeDeltas: readonly number[]
}

export interface Frame {
  readonly functionName: string
  readonly url: string
}

interface ProfileNode {
  readonly id: number
  readonly callFrame: Frame
}

export interface SelfTime {
  readonly place: string
  readonly seconds: number
}

/** The profiles of a process's threads, the main thread's first. */
export function readProfiles(dir: string): CpuProfile[] {
  const names = readdirSync(dir).filter((name) => name.endsWith('.cpuprofile'))
  const thread = (name: string) => Number(/\.(\d+)\.\d+\.cpuprofile$/.exec(name)?.[1] ?? 0)
  return names
    .toSorted((a, b) => thread(a) - thread(b))
    .map((name) => JSON.parse(readFileSync(join(dir, name), 'utf8')) as CpuProfile)
}

/**
 * Seconds that a thread was at work in each place itself (not in what it called), most first. Time waiting for events is left out.
 * @param from microseconds of the monotonic clock: what was before is left out too
 */
export function selfTimes(profile: CpuProfile, placeOf: (frame: Frame) => string, from = 0): SelfTime[] {
  const frames = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame]))
  const seconds = new Map<string, number>()
  let at = profile.startTime
  for (const [i, id] of profile.samples.entries()) {
    at += profile.timeDeltas[i] ?? 0
    if (at < from) continue
    const frame = frames.get(id)
    if (frame === undefined || frame.functionName === '(idle)' || frame.functionName === '(root)') continue
    const place = placeOf(frame)
    seconds.set(place, (seconds.get(place) ?? 0) + (profile.timeDeltas[i] ?? 0) / 1e6)
  }
  return [...seconds].map(([place, s]) => ({ place, seconds: s })).toSorted((a, b) => b.seconds - a.seconds)
}
