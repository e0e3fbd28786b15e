import { type ChildProcess, type ChildProcessWithoutNullStreams, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface, type Interface } from 'node:readline'
import { type Usage, usageOf, usedHere } from './usage.ts'

const STOP_TIMEOUT_MS = 8_000
const LINE_TIMEOUT_MS = 120_000
const LOG_LINES = 20

export interface SpawnOptions {
  readonly command?: string
  readonly args: readonly string[]
  readonly signal: AbortSignal
  /** Hears each line of its standard error. */
  readonly onLog?: ((line: string) => void) | undefined
  /** Hears each line of its standard output. */
  readonly onLine?: ((line: string) => void) | undefined
}

const running = new Set<number>()

/** CPU seconds that this process and all it has started have used. */
export function ownCpuSeconds(): number {
  return [...running].reduce((sum, pid) => sum + usageOf(pid).cpuSeconds, usedHere())
}

/** A process of ours: what it prints is read line by line, and it is gone when this is disposed. */
export class Spawned implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #lines: Interface
  readonly #log: string[] = []
  readonly #ended: Promise<never>
  readonly #what: string

  constructor({ command = process.execPath, args, signal, onLog, onLine }: SpawnOptions) {
    this.#what = [command, ...args].join(' ').slice(0, 200)
    this.#child = spawn(command, args, { env: environment(), signal })
    const { pid } = this.#child
    if (pid !== undefined) running.add(pid)
    this.#child.once('exit', () => pid !== undefined && running.delete(pid))
    this.#lines = createInterface({ input: this.#child.stdout })
    if (onLine !== undefined) this.#lines.on('line', onLine)
    createInterface({ input: this.#child.stderr }).on('line', (line) => {
      onLog?.(line)
      this.#log.push(line)
      if (this.#log.length > LOG_LINES) this.#log.shift()
    })
    const ended = Promise.withResolvers<never>()
    this.#ended = ended.promise
    this.#ended.catch(() => {})
    this.#child.once('error', ended.reject)
    this.#child.once('exit', (code, by) =>
      ended.reject(new Error([`${this.#what} ended (${by ?? code})`, ...this.#log].join('\n'))),
    )
  }

  get pid(): number {
    return this.#child.pid as number
  }

  get usage(): Usage {
    return usageOf(this.pid)
  }

  /** The next line it prints. */
  async line(): Promise<string> {
    const line = once(this.#lines, 'line', { signal: AbortSignal.timeout(LINE_TIMEOUT_MS) })
    const [text] = (await Promise.race([line, this.#ended])) as [string]
    return text
  }

  /** Rejects when it ends by itself before `work` has. */
  while<T>(work: Promise<T>): Promise<T> {
    return Promise.race([work, this.#ended])
  }

  tell(line: string): void {
    this.#child.stdin.write(`${line}\n`)
  }

  /** kill -9. */
  async kill(): Promise<void> {
    if (!isRunning(this.#child)) return
    const exit = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await exit
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await stop(this.#child)
  }
}

/** Runs a command to its end. @returns what it printed */
export async function run(command: string, args: readonly string[], signal: AbortSignal): Promise<string> {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'inherit'], signal })
  const printed: Buffer[] = []
  child.stdout.on('data', (chunk: Buffer) => printed.push(chunk))
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new Error(`${command} ended with ${code}`)
  return Buffer.concat(printed).toString()
}

/** This process's, without what would configure a daemon. */
function environment(): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SHOAL_')))
}

async function stop(child: ChildProcess): Promise<void> {
  if (!isRunning(child)) return
  const exit = once(child, 'exit')
  child.kill('SIGTERM')
  const late = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
  await exit
  clearTimeout(late)
}

function isRunning({ pid, exitCode, signalCode }: ChildProcess): boolean {
  return pid !== undefined && exitCode === null && signalCode === null
}
