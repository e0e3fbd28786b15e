import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { HostDaemon } from './host-daemon.ts'
import { hasWhole, parseTransfers, readerScript, type Transfer, type Wanted, wrongWholes } from './reader-script.ts'
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
}

export interface ReaderOptions extends Omit<Wanted, 'mirror'> {
  readonly site: Site
  readonly daemon: HostDaemon
  readonly signal: AbortSignal
}

const COMPLAINT_CHARACTERS = 500

/** A client of a host's mirror: curl in the host's namespace, ready to go. */
export class Reader implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #options: ReaderOptions
  readonly #ended: Promise<number>
  #output = ''
  #complaint = ''

  constructor(options: ReaderOptions) {
    const { site, daemon, signal } = options
    this.#options = options
    const [command, ...args] = site.command(daemon.host, 'sh', '-c', readerScript({ ...options, mirror: daemon.mirror }))
    // a group of its own: what the shell starts ends with it
    this.#child = spawn(command, args, { signal, detached: true })
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#output += text
    })
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#complaint = `${this.#complaint}${text}`.slice(-COMPLAINT_CHARACTERS)
    })
    // it may have been killed before it was told to go
    this.#child.stdin.on('error', () => {})
    const exited = once(this.#child, 'exit').then(() => performance.now())
    this.#ended = Promise.all([exited, once(this.#child, 'close')]).then(([at]) => at)
    this.#ended.catch(() => {})
  }

  /** Reads to the end. @param t0 of `performance.now()`: when the crowd started */
  async read(t0: number): Promise<Reading> {
    const started = performance.now()
    this.#child.stdin.end('go\n')
    const late = setTimeout(() => this.kill(), this.#options.timeoutS * 1_000)
    const ended = await this.#ended.finally(() => clearTimeout(late))
    const { blobs, check } = this.#options
    const transfers = parseTransfers(this.#output)
    const whole = blobs.every((blob) => hasWhole(transfers, blob, check))
    return {
      startedAt: (started - t0) / 1_000,
      endedAt: (ended - t0) / 1_000,
      transfers,
      failure: whole ? undefined : this.#why(transfers),
      wrongWholes: wrongWholes(transfers, blobs),
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
