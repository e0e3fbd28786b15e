import { readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { text as readText } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { content } from './content.ts'
import { Spawned } from './process.ts'
import type { Usage } from './usage.ts'

const ROOT = new URL('../../', import.meta.url)
const POLL_MS = 20
const WAIT_MS = 180_000
const CALM_MS = 2_000
/** Of one core. */
const CALM_SHARE = 0.04

export interface DaemonOptions {
  readonly dataDir: string
  readonly bootstrap?: readonly string[]
  /** Node's own, e.g. `--cpu-prof`. */
  readonly nodeFlags?: readonly string[]
  /** More of the daemon's, as written in the shell. */
  readonly flags?: readonly string[]
  readonly signal: AbortSignal
}

/** `shoal daemon` as users run it, on loopback, with no registry to go to. */
export class Daemon implements AsyncDisposable {
  readonly #process: Spawned
  readonly #agent = new Agent({ keepAlive: true })
  readonly addresses: readonly string[]
  /** `http://HOST:PORT` of each listener. */
  readonly mirror: string
  readonly control: string

  private constructor(process: Spawned, ready: { mirror: string; control: string; addresses: readonly string[] }) {
    this.#process = process
    this.mirror = `http://${ready.mirror}`
    this.control = `http://${ready.control}`
    this.addresses = ready.addresses
  }

  static async start({ dataDir, bootstrap = [], nodeFlags = [], flags: more = [], signal }: DaemonOptions): Promise<Daemon> {
    const free = ['--mirror', '127.0.0.1:0', '--control', '127.0.0.1:0', '--listen', '/ip4/127.0.0.1/tcp/0']
    // Nothing listens there: what no peer has fails at once.
    const upstream = ['--upstream', 'bench.invalid=http://127.0.0.1:9', '--default-upstream', 'bench.invalid']
    const flags = [
      '--json',
      '--data-dir',
      dataDir,
      '--zone',
      'bench/loopback',
      '--log-level',
      'warn',
      ...free,
      ...upstream,
      ...more,
    ]
    if (bootstrap.length > 0) flags.push('--bootstrap', ...bootstrap)
    const process = new Spawned({ args: [...nodeFlags, ...startCommand(), ...flags], signal })
    try {
      return new Daemon(process, JSON.parse(await process.line()))
    } catch (error) {
      await process[Symbol.asyncDispose]()
      throw error
    }
  }

  get pid(): number {
    return this.#process.pid
  }

  get usage(): Usage {
    return this.#process.usage
  }

  /** Adds generated content. @returns its digest */
  async add(name: string, bytes: number): Promise<string> {
    const req = request(`${this.control}/v1/blobs`, { method: 'POST', agent: this.#agent, headers: { 'content-length': bytes } })
    const answered = new Promise<string>((resolve, reject) => {
      req.once('error', reject)
      req.once('response', async (res) => {
        const text = await readText(res)
        if (res.statusCode === 201) resolve((JSON.parse(text) as { digest: string }).digest)
        else reject(new Error(`adding failed: ${res.statusCode} ${text}`))
      })
    })
    answered.catch(() => {})
    await pipeline(Readable.from(content(name, bytes), { objectMode: false }), req)
    return answered
  }

  /** Brings the whole blob in from peers: verified, on the disk, committed. @returns seconds it took */
  async fetch(digest: string): Promise<number> {
    const started = performance.now()
    const answer = await fetch(`${this.control}/v1/blobs/${digest}`, { method: 'POST' })
    const last = (await answer.text()).trim().split('\n').at(-1) ?? ''
    if (answer.status !== 200 || !last.includes('"done":true')) throw new Error(`fetching failed: ${answer.status} ${last}`)
    return (performance.now() - started) / 1_000
  }

  async remove(digest: string): Promise<void> {
    const answer = await fetch(`${this.control}/v1/blobs/${digest}`, { method: 'DELETE' })
    if (!answer.ok) throw new Error(`removing failed: ${answer.status}`)
  }

  /** Where the mirror has a blob. */
  blobUrl(digest: string): string {
    return `${this.mirror}/v2/bench/content/blobs/${digest}`
  }

  async metric(name: string): Promise<number> {
    const text = await (await fetch(`${this.control}/metrics`)).text()
    const line = text.split('\n').find((each) => each.startsWith(`${name} `))
    if (line === undefined) throw new Error(`no metric ${name}`)
    return Number(line.slice(name.length + 1))
  }

  async connectedPeers(): Promise<number> {
    return ((await (await fetch(`${this.control}/v1/status`)).json()) as { connectedPeers: number }).connectedPeers
  }

  /** Waits until it has so many peers. */
  untilConnected(peers: number): Promise<void> {
    return until(`${peers} peers`, async () => (await this.connectedPeers()) >= peers)
  }

  /** Waits until it can get a blob from whoever holds it: the last that was added, so that what came before it is known too. */
  untilFinds(digest: string): Promise<void> {
    return until(`a holder of ${digest}`, async () => {
      const answer = await fetch(this.blobUrl(digest))
      await answer.arrayBuffer()
      return answer.ok
    })
  }

  /** Waits until it has nothing to do any more: what it was given to hold has been announced. */
  async untilCalm(): Promise<void> {
    let before = this.usage.cpuSeconds
    await until('calm', async () => {
      await delay(CALM_MS)
      const used = this.usage.cpuSeconds - before
      before += used
      return used < CALM_SHARE * (CALM_MS / 1_000)
    })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#agent.destroy()
    await this.#process[Symbol.asyncDispose]()
  }
}

/** Node's arguments up to `daemon`, as `npm start` has them: what is measured is what users run. */
export function startCommand(): string[] {
  const { scripts } = JSON.parse(readFileSync(new URL('package.json', ROOT), 'utf8')) as { scripts: { start: string } }
  const [node, ...args] = scripts.start.replace(/^exec /, '').split(' ')
  if (node !== 'node' || args.at(-1) !== 'daemon') throw new Error('npm start is not `node … daemon`')
  return args.map((arg) => (arg.startsWith('-') || arg === 'daemon' ? arg : new URL(arg, ROOT).pathname))
}

/** Two daemons that know each other, and what the other holds. */
export async function startPair(
  dir: string,
  options: Pick<DaemonOptions, 'signal' | 'nodeFlags'>,
): Promise<AsyncDisposable & { readonly holder: Daemon; readonly fetcher: Daemon }> {
  await using stack = new AsyncDisposableStack()
  const holder = stack.use(await Daemon.start({ ...options, dataDir: join(dir, 'holder') }))
  const fetcher = stack.use(await Daemon.start({ ...options, dataDir: join(dir, 'fetcher'), bootstrap: holder.addresses }))
  await fetcher.untilFinds(await holder.add('first', 1))
  const opened = stack.move()
  return { holder, fetcher, [Symbol.asyncDispose]: () => opened.disposeAsync() }
}

async function until(what: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + WAIT_MS
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`no ${what} within ${WAIT_MS / 1_000} s`)
    await delay(POLL_MS)
  }
}
