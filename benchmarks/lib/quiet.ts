import { readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'

/** Of all cores, what others may use while we measure. */
const QUIET_SHARE = 0.08
const SAMPLE_MS = 1_000
const PATIENCE_MS = 90_000

/** Waits until nothing else keeps the machine busy, for a while. @returns whether it became quiet */
export async function untilQuiet(say: (what: string) => void, signal: AbortSignal): Promise<boolean> {
  const deadline = performance.now() + PATIENCE_MS
  for (let told = false; ; told = true) {
    const busy = await busyShare(signal)
    if (busy < QUIET_SHARE) return true
    if (performance.now() > deadline) {
      say('the machine does not become quiet: measuring all the same')
      return false
    }
    if (!told) say(`the machine is busy (${Math.round(busy * 100)} %): waiting`)
  }
}

async function busyShare(signal: AbortSignal): Promise<number> {
  const before = ticks()
  await delay(SAMPLE_MS, undefined, { signal })
  const after = ticks()
  return 1 - (after.idle - before.idle) / (after.all - before.all)
}

function ticks(): { readonly idle: number; readonly all: number } {
  const fields = (readFileSync('/proc/stat', 'utf8').split('\n')[0] as string).trim().split(/\s+/).slice(1, 9).map(Number)
  return { idle: (fields[3] as number) + (fields[4] as number), all: fields.reduce((sum, n) => sum + n, 0) }
}
