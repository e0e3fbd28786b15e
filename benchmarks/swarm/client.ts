import type { Transfer } from './reader-script.ts'

/** A program that reads from a host's mirror, to be run by a shell. */
export interface Client {
  /** Waits for a line on its standard input, and then reads. */
  readonly script: string
  /** What became of each blob. @param lines that it has printed */
  transfers(lines: readonly Line[]): Transfer[]
}

export interface Line {
  readonly text: string
  /** When it was printed, of `performance.now()`. */
  readonly at: number
}

/** Makes a script print, as its last lines, what it and the programs it ran have used. */
export const TELL_USAGE = 'trap times EXIT'

/** What a script's programs have used: user and system time. */
export function usedSeconds(lines: readonly Line[]): number {
  const times = lines.findLast(({ text }) => USED.test(text))?.text
  const [, userM = 0, userS = 0, systemM = 0, systemS = 0] = (USED.exec(times ?? '') ?? []).map(Number)
  return userM * 60 + userS + systemM * 60 + systemS
}

const USED = /^(\d+)m([\d.]+)s (\d+)m([\d.]+)s$/
