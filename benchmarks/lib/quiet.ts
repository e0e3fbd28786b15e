import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { ownCpuSeconds } from './process.ts'
import { TICKS } from './usage.ts'

/** Of all cores, what others may use while we measure. */
const QUIET_SHARE = 0.06
const SAMPLE_MS = 700
/** For all waiting together, so that a run ends. */
const PATIENCE_MS = 60_000
const ATTEMPTS = 2

let patienceMs = PATIENCE_MS

interface Waiting {
  readonly signal: AbortSignal
  say(what: string): void
}

export interface Quiet<T> {
  readonly result: T
  /** Of all cores, what was not ours meanwhile. */
  readonly othersShare: number
}

/** Measures when the machine is ours: a result that others have disturbed is thrown away, a few times; then the least disturbed is taken. */
export async function inQuiet<T>(waiting: Waiting, measure: () => Promise<T>, attempts: number = ATTEMPTS): Promise<Quiet<T>> {
  let best: Quiet<T> | undefined
  for (let attempt = 1; attempt <= attempts; attempt++) {
    await untilQuiet(waiting)
    const meter = othersMeter()
    const result = await measure()
    const othersShare = meter()
    if (best === undefined || othersShare < best.othersShare) best = { result, othersShare }
    if (othersShare < QUIET_SHARE || patienceMs <= 0) break
    waiting.say(
      `others used ${Math.round(othersShare * 100)} % of the machine meanwhile${attempt < attempts ? ': once more' : ''}`,
    )
  }
  return best as Quiet<T>
}

/** Waits until nothing else keeps the machine busy, while there is patience left. */
async function untilQuiet({ say, signal }: Waiting): Promise<void> {
  for (let told = false; patienceMs > 0; told = true) {
    const meter = othersMeter()
    await delay(SAMPLE_MS, undefined, { signal })
    const share = meter()
    if (share < QUIET_SHARE) return
    patienceMs -= SAMPLE_MS
    if (!told) say(`the machine is busy (${Math.round(share * 100)} %): waiting`)
  }
}

/** @returns a function that says what share of the machine others have used since */
function othersMeter(): () => number {
  const before = { ...machineTicks(), own: ownCpuSeconds() }
  return () => {
    const after = machineTicks()
    const own = (ownCpuSeconds() - before.own) * TICKS
    return Math.max(0, after.busy - before.busy - own) / Math.max(1, after.all - before.all)
  }
}

function machineTicks(): { readonly busy: number; readonly all: number } {
  const fields = (readFileSync('/proc/stat', 'utf8').split('\n')[0] as string).trim().split(/\s+/).slice(1, 9).map(Number)
  const all = fields.reduce((sum, n) => sum + n, 0)
  return { busy: all - (fields[3] as number) - (fields[4] as number), all }
}
