import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import type { ImageBlob } from '../../examples/demo/image.ts'
import type { HostDaemon } from './host-daemon.ts'
import { parseTransfers, readerScript, type Transfer } from './reader-script.ts'
import type { Site } from './site.ts'

/** What became of one host's client. */
export interface Reading {
  /** Seconds since the crowd's start. */
  readonly startedAt: number
  readonly endedAt: number
  /** Of what is to be read, in the order of its end. */
  readonly blobs: readonly Transfer[]
  /** Why it has not read everything whole; `undefined` when it has. */
  readonly failure: string | undefined
}

export interface ReaderOptions {
  readonly site: Site
  readonly daemon: HostDaemon
  /** What to read: blobs alone, or (as containerd does) all that the image's tag leads to. */
  readonly image: boolean
  readonly blobs: readonly ImageBlob[]
  /** Hash what arrives. */
  readonly check: boolean
  readonly timeoutS: number
  readonly signal: AbortSignal
}

/** A client of a host's mirror: curl in the host's namespace, ready to go. */
export class Reader implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #options: ReaderOptions
  readonly #ended: Promise<number>
  #output = ''
  #complaint = ''

  constructor(options: ReaderOptions) {
    this.#options = options
    const script = readerScript({ ...options, mirror: options.daemon.mirror })
    const [command, ...args] = options.site.command(options.daemon.host, 'sh', '-c', script)
    this.#child = spawn(command, args, { signal: options.signal })
    this.#child.stdout.setEncoding('utf8').on('data', (text: string) => {
      this.#output += text
    })
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#complaint = `${this.#complaint}${text}`.slice(-500)
    })
    // it may be killed before it was told to go
    this.#child.stdin.on('error', () => {})
    const exited = once(this.#child, 'exit').then(() => performance.now())
    this.#ended = Promise.all([exited, once(this.#child, 'close')]).then(([at]) => at)
    this.#ended.catch(() => {})
  }

  /** Starts reading. @param t0 of `performance.now()`: when the crowd started */
  async read(t0: number): Promise<Reading> {
    const started = performance.now()
    this.#child.stdin.end('go\n')
    const ended = await this.#ended
    const { blobs } = this.#options
    const transfers = parseTransfers(this.#output, blobs)
    const whole = blobs.every(({ digest, size }) =>
      transfers.some((each) => each.digest === String(digest) && each.bytes === size && each.problem === undefined),
    )
    const problems = transfers.map(({ problem }) => problem).filter((problem) => problem !== undefined)
    const failure = whole
      ? undefined
      : [...problems, this.#complaint.trim(), `exit ${this.#child.exitCode}`].filter(Boolean).join('; ')
    return { startedAt: (started - t0) / 1_000, endedAt: (ended - t0) / 1_000, blobs: transfers, failure }
  }

  /** Ends it: its host has died. */
  kill(): void {
    this.#child.kill('SIGKILL')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.kill()
    await this.#ended.catch(() => {})
  }
}
