import type { Report } from './report.ts'

/** What a benchmark runs with. */
export interface Context {
  /** Small sizes and few rounds: to see that it works, not to quote. */
  readonly quick: boolean
  /** An empty directory of its own, removed afterwards. */
  readonly dir: string
  readonly signal: AbortSignal
  /** Tells whoever waits what goes on now. */
  say(what: string): void
}

export interface Benchmark {
  readonly name: string
  /** What it measures, in a line. */
  readonly about: string
  /** Where it takes longer than others do. */
  readonly longestMs?: number
  /** Left out when all are asked for. */
  readonly onlyByName?: true
  run(context: Context): Promise<Report>
}
