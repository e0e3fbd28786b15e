import { readFileSync } from 'node:fs'

/** What a host's link has carried. */
export interface LinkBytes {
  readonly sent: number
  readonly received: number
}

export interface MachineTicks {
  readonly busy: number
  readonly all: number
}

/** Of the network namespace that a process is in. @param device the link's */
export function linkBytes(pid: number, device = 'e0'): LinkBytes {
  return parseLinkBytes(readFileSync(`/proc/${pid}/net/dev`, 'utf8'), device)
}

/** @param text as /proc/net/dev has it */
export function parseLinkBytes(text: string, device: string): LinkBytes {
  const line = text.split('\n').find((each) => each.trimStart().startsWith(`${device}:`))
  if (line === undefined) throw new Error(`no device ${device}`)
  const fields = line
    .slice(line.indexOf(':') + 1)
    .trim()
    .split(/\s+/)
    .map(Number)
  return { received: fields[0] as number, sent: fields[8] as number }
}

/** What all cores together have done since the machine started. */
export function machineTicks(): MachineTicks {
  const fields = (readFileSync('/proc/stat', 'utf8').split('\n')[0] as string).trim().split(/\s+/).slice(1, 9).map(Number)
  const all = fields.reduce((sum, n) => sum + n, 0)
  return { busy: all - (fields[3] as number) - (fields[4] as number), all }
}
