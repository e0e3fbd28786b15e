import { setInterval as every } from 'node:timers/promises'
import { machineTicks } from './counters.ts'

/** How busy things were in the second before. */
export interface Usage {
  /** Seconds since the start. */
  readonly atS: number
  /** Of all cores. */
  readonly machineShare: number
  /** Of what the origin's link can send; NaN where it has no rate. */
  readonly originShare: number
}

const SAMPLE_MS = 500

/** Samples until aborted. @param sentBytes by the origin so far */
export async function sampleUsage(options: {
  readonly sentBytes: () => number | undefined
  readonly mbit: number
  readonly into: Usage[]
  readonly signal: AbortSignal
}): Promise<void> {
  const { sentBytes, mbit, into, signal } = options
  const t0 = performance.now()
  const now = () => ({ at: performance.now(), ticks: machineTicks(), sent: sentBytes() ?? Number.NaN })
  let before = now()
  try {
    for await (const _ of every(SAMPLE_MS, undefined, { signal })) {
      const after = now()
      const bitsPossible = ((after.at - before.at) / 1_000) * mbit * 1e6
      into.push({
        atS: (after.at - t0) / 1_000,
        machineShare: (after.ticks.busy - before.ticks.busy) / Math.max(1, after.ticks.all - before.ticks.all),
        originShare: ((after.sent - before.sent) * 8) / bitsPossible,
      })
      before = after
    }
  } catch (error) {
    if (!signal.aborted) throw error
  }
}
