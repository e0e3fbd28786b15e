import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { ImageBlob } from '../../examples/demo/image.ts'
import { type Client, type Line, usedSeconds } from './client.ts'
import { hasWhole, type Transfer, wrongWholes } from './reader-script.ts'
import type { Site } from './site.ts'

/** What became of one host's client. */
export interface Reading {
  /** Seconds since the crowd's start. */
  readonly startedAt: number
  readonly endedAt: number
  /** In the order of their ends. */
  readonly transfers: readonly Transfer[]
  /** Why it has not read everything whole; `undefined` when it has. */
  readonly failure: string | undefined
  /** Answers that seemed complete and were not the content. */
  readonly wrongWholes: number
  /** User and system time of the client, and of the runtime that works for it. */
  readonly clientCpuSeconds: number
}

export interface ReaderOptions {
  readonly site: Site
  readonly host: number
  readonly client: Client
  /** What is to be whole at the end. */
  readonly blobs: readonly ImageBlob[]
  /** Whether the client hashes what it gets. */
  readonly check: boolean
  /** For all of it. */
  readonly timeoutS: number
  /** A process that works for the client. */
  readonly runtime?: { readonly cpuSeconds: number } | undefined
  readonly signal: AbortSignal
}

const COMPLAINT_CHARACTERS = 500

/** A client of a host's mirror, in the host's namespace, ready to go. */
export class Reader implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #options: ReaderOptions
  readonly #ended: Promise<number>
  readonly #lines: Line[] = []
  #complaint = ''

  constructor(options: ReaderOptions) {
    const { site, host, client, signal } = options
    this.#options = options
    const [command, ...args] = site.command(host, 'sh', '-c', client.script)
    // a group of its own: what the shell starts ends with it
    this.#child = spawn(command, args, { signal, detached: true })
    createInterface({ input: this.#child.stdout }).on('line', (text) => this.#lines.push({ text, at: performance.now() }))
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      // curl draws its progress of several transfers, whatever it is told, one over the other
      this.#complaint = `${this.#complaint}${text}`.replace(/.*\r/g, '').slice(-COMPLAINT_CHARACTERS)
    })
    // it may have been killed before it was told to go
    this.#child.stdin.on('error', () => {})
    const exited = once(this.#child, 'exit').then(() => performance.now())
    this.#ended = Promise.all([exited, once(this.#child, 'close')]).then(([at]) => at)
    this.#ended.catch(() => {})
  }

  /** Reads to the end. @param t0 of `performance.now()`: when the crowd started */
  async read(t0: number): Promise<Reading> {
    const { client, blobs, check, timeoutS, runtime } = this.#options
    const started = performance.now()
    const before = runtime?.cpuSeconds ?? 0
    this.#child.stdin.end('go\n')
    const late = setTimeout(() => this.kill(), timeoutS * 1_000)
    const ended = await this.#ended.finally(() => clearTimeout(late))
    const transfers = client.transfers(this.#lines)
    const whole = blobs.every((blob) => hasWhole(transfers, blob, check))
    return {
      startedAt: (started - t0) / 1_000,
      endedAt: (ended - t0) / 1_000,
      transfers,
      failure: whole ? undefined : this.#why(transfers),
      wrongWholes: wrongWholes(transfers, blobs),
      clientCpuSeconds: usedSeconds(this.#lines) + (runtime?.cpuSeconds ?? 0) - before,
    }
  }

  /** Ends it: its host has died, or nobody waits for it. */
  kill(): void {
    const { pid, exitCode, signalCode } = this.#child
    if (pid === undefined || exitCode !== null || signalCode !== null) return
    try {
      process.kill(-pid, 'SIGKILL')
    } catch {
      // it ended this moment
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.kill()
    await this.#ended.catch(() => {})
  }

  #why(transfers: readonly Transfer[]): string {
    const { exitCode, signalCode } = this.#child
    const problems = new Set(transfers.map(({ problem }) => problem).filter((problem) => problem !== undefined))
    const why = problems.size > 0 ? [...problems] : [this.#complaint.trim()]
    return [...why, `ended with ${signalCode ?? exitCode}`].filter((word) => word !== '').join('; ')
  }
}
