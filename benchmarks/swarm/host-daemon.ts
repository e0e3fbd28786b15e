import type { BanInfo, PeerInfo } from '../../src/shoal-node.ts'
import { startCommand } from '../lib/daemon.ts'
import { run, Spawned } from '../lib/process.ts'
import type { Usage } from '../lib/usage.ts'
import { type LinkBytes, linkBytes } from './counters.ts'
import { parseMetrics } from './metrics.ts'
import type { Site } from './site.ts'

export const ZONE = 'bench/swarm'
/** What the mirror is asked for by this name is the origin's. */
export const REGISTRY = 'origin.test'
const ANSWER_S = '60'

export interface HostDaemonOptions {
  readonly site: Site
  readonly host: number
  readonly dataDir: string
  readonly originUrl: string
  readonly bootstrap: readonly string[]
  readonly logLevel: string
  /** The program and its arguments up to the flags; by default as `npm start` has them. */
  readonly program?: readonly string[] | undefined
  /** Node's own flags besides. */
  readonly nodeFlags?: readonly string[] | undefined
  readonly onLog?: ((line: string) => void) | undefined
  readonly signal: AbortSignal
}

interface Ready {
  readonly peerId: string
  readonly addresses: readonly string[]
  readonly mirror: string
  readonly control: string
}

/** `shoal daemon` on a host of its own. */
export class HostDaemon implements AsyncDisposable {
  readonly host: number
  readonly mirror: string
  readonly peerId: string
  readonly addresses: readonly string[]
  readonly #control: string
  readonly #process: Spawned
  readonly #options: HostDaemonOptions
  #killed = false
  #last: { readonly usage: Usage; readonly link: LinkBytes | undefined } | undefined

  private constructor(process: Spawned, options: HostDaemonOptions, ready: Ready) {
    this.#process = process
    this.#options = options
    this.host = options.host
    this.mirror = `http://${ready.mirror}`
    this.#control = `http://${ready.control}`
    this.peerId = ready.peerId
    const address = options.site.address(options.host)
    this.addresses = ready.addresses.filter((each) => each.startsWith(`/ip4/${address}/`))
  }

  static async start(options: HostDaemonOptions): Promise<HostDaemon> {
    const {
      site,
      host,
      dataDir,
      originUrl,
      bootstrap,
      logLevel,
      program = startCommand(),
      nodeFlags = [],
      onLog,
      signal,
    } = options
    const flags = ['--json', '--data-dir', dataDir, '--zone', ZONE, '--log-level', logLevel]
    flags.push('--mirror', `127.0.0.1:${site.port(7400)}`, '--control', `127.0.0.1:${site.port(7401)}`)
    flags.push('--listen', `/ip4/${site.address(host)}/tcp/${site.port(7402)}`)
    flags.push('--upstream', `${REGISTRY}=${originUrl}`, '--default-upstream', REGISTRY)
    if (bootstrap.length > 0) flags.push('--bootstrap', ...bootstrap)
    const [command, ...args] = site.command(host, process.execPath, ...nodeFlags, ...program, ...flags)
    const spawned = new Spawned({ command, args, onLog, signal })
    try {
      return new HostDaemon(spawned, options, JSON.parse(await spawned.line()) as Ready)
    } catch (error) {
      await spawned.kill()
      throw error
    }
  }

  get killed(): boolean {
    return this.#killed
  }

  /** Of its whole life; of a daemon that was killed, up to then. */
  get usage(): Usage {
    return this.#last?.usage ?? this.#process.usage
  }

  /** `undefined` where hosts have no links of their own. */
  get link(): LinkBytes | undefined {
    if (!this.#options.site.shaped) return undefined
    return this.#last === undefined ? linkBytes(this.#process.pid) : this.#last.link
  }

  /** What its control listener says. */
  async get(path: string): Promise<string> {
    const { site, host, signal } = this.#options
    const [command, ...args] = site.command(host, 'curl', '-sSf', '--max-time', ANSWER_S, `${this.#control}${path}`)
    return run(command, args, signal)
  }

  async peers(): Promise<readonly PeerInfo[]> {
    return (JSON.parse(await this.get('/v1/peers')) as { peers: PeerInfo[] }).peers
  }

  async bans(): Promise<readonly BanInfo[]> {
    return (JSON.parse(await this.get('/v1/bans')) as { bans: BanInfo[] }).bans
  }

  /** Digests of blobs that it calls complete. */
  async complete(): Promise<ReadonlySet<string>> {
    const { blobs } = JSON.parse(await this.get('/v1/blobs')) as { blobs: { digest: string; complete: boolean }[] }
    return new Set(blobs.filter(({ complete }) => complete).map(({ digest }) => digest))
  }

  /** Of the bytes that it gives for a digest, in hex. */
  async sha256(digest: string): Promise<string> {
    const { site, host, signal } = this.#options
    const line = `curl -sSf --max-time ${ANSWER_S} ${this.#control}/v1/blobs/${digest} | sha256sum`
    const [command, ...args] = site.command(host, 'sh', '-c', line)
    return (await run(command, args, signal)).slice(0, 64)
  }

  /** Rejects when it ends without having been killed. */
  async crashed(): Promise<never> {
    try {
      return await this.#process.while(new Promise<never>(() => {}))
    } catch (error) {
      if (this.#killed) return new Promise<never>(() => {})
      throw new Error(`host ${this.host}: ${(error as Error).message}`, { cause: error })
    }
  }

  async metrics(): Promise<ReadonlyMap<string, number>> {
    return parseMetrics(await this.get('/metrics'))
  }

  /** kill -9, on purpose. */
  async kill(): Promise<void> {
    this.#last = { usage: this.usage, link: this.link }
    this.#killed = true
    await this.#process.kill()
  }

  /** Asks it to end, and waits for it. */
  async stop(): Promise<void> {
    await this.#process[Symbol.asyncDispose]()
  }

  /** What it holds is thrown away, so nothing needs to be closed. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.kill()
  }
}
