/** Daemons as real processes, as a host would run them, that are gone when the demo is. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'

const MAIN = new URL('../../src/cli/main.ts', import.meta.url).pathname
const START_TIMEOUT_MS = 30_000
const STOP_TIMEOUT_MS = 6_000
/** What of a daemon's log is kept to be shown if it fails. */
const LOG_LINES = 20

export interface DaemonOptions {
  readonly name: string
  readonly dataDir: string
  /** `NAME=URL` of registries. */
  readonly upstreams: readonly string[]
  /** Multiaddrs of peers to begin with. */
  readonly bootstrap: readonly string[]
}

export interface Daemon extends AsyncDisposable {
  readonly name: string
  /** `http://HOST:PORT` of each listener. */
  readonly mirror: string
  readonly control: string
  readonly addresses: readonly string[]
  /** Rejects when the process ends before it is asked to. */
  readonly failed: Promise<never>
  /** Bytes of content that came in, by where from. */
  downloaded(): Promise<{ readonly origin: number; readonly peer: number }>
  connectedPeers(): Promise<number>
}

interface Ready {
  readonly mirror: string
  readonly control: string
  readonly addresses: readonly string[]
}

/** Starts a daemon and waits until it listens. */
export async function startDaemon(options: DaemonOptions, signal: AbortSignal): Promise<Daemon> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', MAIN, ...flagsOf(options)], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SHOAL_'))),
  })
  const log: string[] = []
  createInterface({ input: child.stderr }).on('line', (line) => {
    log.push(line)
    if (log.length > LOG_LINES) log.shift()
  })
  let stopping = false
  const ended = Promise.withResolvers<never>()
  ended.promise.catch(() => {})
  child.once('error', ended.reject)
  child.once('exit', (code, by) => {
    if (!stopping) ended.reject(new Error([`${options.name} ended by itself (${by ?? code}):`, ...log].join('\n  ')))
  })
  const stop = async (): Promise<void> => {
    stopping = true
    await stopProcess(child)
  }
  try {
    const ready = await Promise.race([firstLine(child, signal), ended.promise])
    return daemonOf(options.name, JSON.parse(ready) as Ready, ended.promise, stop)
  } catch (error) {
    await stop()
    throw error
  }
}

/** Resolves when every daemon has a peer. */
export async function untilConnected(daemons: readonly Daemon[], signal: AbortSignal): Promise<void> {
  const deadline = AbortSignal.timeout(START_TIMEOUT_MS)
  for (const daemon of daemons) {
    while ((await daemon.connectedPeers()) === 0) {
      if (deadline.aborted) throw new Error(`${daemon.name} found no peer within ${START_TIMEOUT_MS / 1_000} s`)
      await delay(50, undefined, { signal })
    }
  }
}

function flagsOf({ dataDir, upstreams, bootstrap }: DaemonOptions): string[] {
  const listeners = ['--mirror', '127.0.0.1:0', '--control', '127.0.0.1:0', '--listen', '/ip4/127.0.0.1/tcp/0']
  const flags = ['daemon', '--json', '--data-dir', dataDir, '--zone', 'demo/loopback', '--log-level', 'warn', ...listeners]
  if (upstreams.length > 0) flags.push('--upstream', ...upstreams)
  if (bootstrap.length > 0) flags.push('--bootstrap', ...bootstrap)
  return flags
}

async function firstLine(child: ChildProcess, signal: AbortSignal): Promise<string> {
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  const [line] = (await once(lines, 'line', { signal: AbortSignal.any([signal, AbortSignal.timeout(START_TIMEOUT_MS)]) })) as [
    string,
  ]
  return line
}

async function stopProcess(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill('SIGTERM')
  const late = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
  await exit
  clearTimeout(late)
}

function daemonOf(name: string, ready: Ready, failed: Promise<never>, stop: () => Promise<void>): Daemon {
  const control = `http://${ready.control}`
  return {
    name,
    mirror: `http://${ready.mirror}`,
    control,
    addresses: ready.addresses,
    failed,
    async downloaded() {
      const text = await (await fetch(`${control}/metrics`)).text()
      const of = (source: string) =>
        Number(new RegExp(`^shoal_download_bytes_total\\{source="${source}"\\} (\\S+)$`, 'm').exec(text)?.[1] ?? NaN)
      return { origin: of('origin'), peer: of('peer') }
    },
    async connectedPeers() {
      return ((await (await fetch(`${control}/v1/status`)).json()) as { connectedPeers: number }).connectedPeers
    },
    [Symbol.asyncDispose]: stop,
  }
}
