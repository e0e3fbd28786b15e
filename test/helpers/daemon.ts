/** `shoal daemon` as a real process, that can be killed and started again in the same data directory. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { TestContext } from 'node:test'
import type { NodeStatus, PeerInfo } from '../../src/shoal-node.ts'
import { until } from './until.ts'

const MAIN = new URL('../../src/cli/main.ts', import.meta.url).pathname
const START_TIMEOUT_MS = 30_000

export interface DaemonOptions {
  readonly dataDir: string
  /** `NAME=URL` of registries. */
  readonly upstreams?: readonly string[]
  readonly bootstrap?: readonly string[]
  /** More flags, as written in the shell. */
  readonly flags?: readonly string[]
  /** The program; by default the sources'. */
  readonly main?: string
}

export interface DaemonProcess {
  readonly pid: number
  /** `http://HOST:PORT`. */
  readonly mirror: string
  readonly control: string
  readonly peerId: string
  readonly addresses: readonly string[]
  /** Lines of the log so far. */
  readonly log: readonly string[]
  status(): Promise<NodeStatus>
  peers(): Promise<readonly PeerInfo[]>
  /** The value of a metric with these labels, written as Prometheus does: `shoal_download_bytes_total{source="peer"}`. */
  metric(name: string): Promise<number>
  /** Asks it to stop. @returns its exit code */
  stop(): Promise<number | null>
  /** kill -9. */
  kill(): Promise<void>
}

/** Starts a daemon on free loopback ports; it is ended with the test. */
export async function startDaemon(t: TestContext, options: DaemonOptions): Promise<DaemonProcess> {
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', options.main ?? MAIN, ...argumentsOf(options)],
    {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SHOAL_'))),
    },
  )
  const kill = () => end(child, 'SIGKILL')
  t.after(kill)
  const log: string[] = []
  createInterface({ input: child.stderr }).on('line', (line) => log.push(line))
  const ready = await firstLine(child, log)
  const control = `http://${ready.control}`
  const json = async (path: string) => (await fetch(`${control}${path}`)).json()
  return {
    pid: child.pid as number,
    mirror: `http://${ready.mirror}`,
    control,
    peerId: ready.peerId,
    addresses: ready.addresses,
    log,
    status: async () => (await json('/v1/status')) as NodeStatus,
    peers: async () => ((await json('/v1/peers')) as { peers: PeerInfo[] }).peers,
    async metric(name) {
      const text = await (await fetch(`${control}/metrics`)).text()
      const line = text.split('\n').find((l) => l.startsWith(`${name} `))
      if (line === undefined) throw new Error(`no metric ${name}`)
      return Number(line.slice(name.length + 1))
    },
    async stop() {
      await end(child, 'SIGTERM')
      return child.exitCode
    },
    kill,
  }
}

/** Starts daemons that know each other through the first, and waits until all are connected. */
export async function startMesh(
  t: TestContext,
  count: number,
  dir: string,
  options: Omit<DaemonOptions, 'dataDir' | 'bootstrap'> = {},
): Promise<DaemonProcess[]> {
  const first = await startDaemon(t, { ...options, dataDir: join(dir, '0') })
  const others = await Promise.all(
    Array.from({ length: count - 1 }, (_, i) =>
      startDaemon(t, { ...options, dataDir: join(dir, String(i + 1)), bootstrap: first.addresses }),
    ),
  )
  const mesh = [first, ...others]
  await connected(mesh)
  return mesh
}

/** Waits until each of these is connected to every other. */
export async function connected(mesh: readonly DaemonProcess[]): Promise<void> {
  for (const daemon of mesh) {
    await until(
      `${daemon.peerId} is connected to all others`,
      async () => (await daemon.status()).connectedPeers >= mesh.length - 1,
      START_TIMEOUT_MS,
    )
  }
}

/** Waits until each of these has heard the beacon of every other. */
export async function heardOfAll(mesh: readonly DaemonProcess[]): Promise<void> {
  for (const node of mesh) {
    const others = async () => (await node.peers()).filter(({ zone }) => zone !== undefined).length
    await until(`${node.peerId} has heard of all others`, async () => (await others()) >= mesh.length - 1, 60_000)
  }
}

function argumentsOf({ dataDir, upstreams = [], bootstrap = [], flags = [] }: DaemonOptions): string[] {
  const listeners = ['--mirror', '127.0.0.1:0', '--control', '127.0.0.1:0', '--listen', '/ip4/127.0.0.1/tcp/0']
  const all = ['daemon', '--json', '--data-dir', dataDir, '--zone', 'test/loopback', '--log-level', 'info', ...listeners]
  if (upstreams.length > 0) all.push('--upstream', ...upstreams)
  if (bootstrap.length > 0) all.push('--bootstrap', ...bootstrap)
  return [...all, ...flags]
}

type Ready = { mirror: string; control: string; peerId: string; addresses: string[] }

async function firstLine(child: ChildProcess, log: readonly string[]): Promise<Ready> {
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })
  const ended = once(child, 'exit').then(([code]) => {
    throw new Error(`the daemon ended with ${code}:\n${log.join('\n')}`)
  })
  const [line] = (await Promise.race([once(lines, 'line', { signal: AbortSignal.timeout(START_TIMEOUT_MS) }), ended])) as [string]
  ended.catch(() => {})
  return JSON.parse(line) as Ready
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exit = once(child, 'exit')
  child.kill(signal)
  await exit
}
