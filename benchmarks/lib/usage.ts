import { readFileSync, writeFileSync } from 'node:fs'

/** Clock ticks a second of /proc/<pid>/stat: 100 on every Linux that Node runs on. */
export const TICKS = 100

/** CPU seconds that a process and its threads have used, and the most memory it has had resident. Linux only. */
export interface Usage {
  readonly cpuSeconds: number
  readonly peakRssMiB: number
  readonly rssMiB: number
}

export function usageOf(pid: number): Usage {
  const fields = statOf(String(pid))
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const kib = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1] ?? 0)
  return {
    cpuSeconds: (Number(fields[11]) + Number(fields[12])) / TICKS,
    peakRssMiB: kib('VmHWM') / 1024,
    rssMiB: kib('VmRSS') / 1024,
  }
}

/** CPU seconds of this process and of those it started that have ended. */
export function usedHere(): number {
  const fields = statOf('self')
  return [11, 12, 13, 14].reduce((sum, i) => sum + Number(fields[i]), 0) / TICKS
}

/** From the third field on: the second may hold spaces. */
function statOf(pid: string): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
}

/** Starts the peak anew, from what is resident now. */
export function resetPeakRss(pid: number): void {
  writeFileSync(`/proc/${pid}/clear_refs`, '5')
}
