import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { HostDaemon, type HostDaemonOptions } from './host-daemon.ts'
import type { Site } from './site.ts'

const POLL_MS = 250
const ACQUAINTED_MS = 120_000
/** Of all cores: what daemons that only know each other may use, and for how long they are waited for to come down to it. */
const CALM_SHARE = 0.3
const CALM_MS = 15_000

export interface CrowdOptions extends Pick<HostDaemonOptions, 'originUrl' | 'logLevel' | 'signal'> {
  readonly site: Site
  readonly hosts: number
  readonly dir: string
  readonly cores: number
  /** The program of a host, where it is not `shoal daemon`. */
  readonly programOf?: ((host: number) => readonly string[] | undefined) | undefined
  readonly nodeFlagsOf?: ((host: number) => readonly string[] | undefined) | undefined
  /** Hears the log of all. */
  readonly onLog?: ((host: number, line: string) => void) | undefined
}

/** Daemons of one zone, a host each; they know each other. */
export class Crowd implements AsyncDisposable {
  readonly daemons: readonly HostDaemon[]
  readonly #cores: number

  private constructor(daemons: readonly HostDaemon[], cores: number) {
    this.daemons = daemons
    this.#cores = cores
  }

  static async open(options: CrowdOptions): Promise<Crowd> {
    const { hosts, onLog, dir, programOf, nodeFlagsOf } = options
    await using stack = new AsyncDisposableStack()
    const start = async (host: number, bootstrap: readonly string[]): Promise<HostDaemon> => {
      const own = { host, bootstrap, dataDir: join(dir, `host-${host}`), onLog: (line: string) => onLog?.(host, line) }
      return stack.use(await HostDaemon.start({ ...options, ...own, program: programOf?.(host), nodeFlags: nodeFlagsOf?.(host) }))
    }
    const first = await start(1, [])
    const starting = Array.from({ length: hosts - 1 }, (_, i) => start(i + 2, first.addresses))
    const settled = await Promise.allSettled(starting)
    for (const each of settled) if (each.status === 'rejected') throw each.reason
    const daemons = [first, ...settled.map((each) => (each as PromiseFulfilledResult<HostDaemon>).value)]
    await acquainted(daemons)
    await calm(daemons, options.cores)
    stack.move()
    return new Crowd(daemons, options.cores)
  }

  get living(): readonly HostDaemon[] {
    return this.daemons.filter(({ killed }) => !killed)
  }

  /** Rejects as well when a daemon ends that nobody has killed, or when what goes on in the background fails. */
  whileRunning<T>(work: Promise<T>, ...background: readonly Promise<void>[]): Promise<T> {
    const failing = [...this.daemons.map((daemon) => daemon.crashed()), ...background.map(onlyFailure)]
    for (const each of failing) each.catch(() => {})
    return Promise.race([work, ...failing])
  }

  get cpuSeconds(): number {
    return this.daemons.reduce((sum, { usage }) => sum + usage.cpuSeconds, 0)
  }

  /** Resolves when next to nothing is done any more. */
  async calm(): Promise<void> {
    await calm(this.daemons, this.#cores)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.daemons.map((daemon) => daemon[Symbol.asyncDispose]()))
  }
}

async function onlyFailure(work: Promise<void>): Promise<never> {
  await work
  return new Promise<never>(() => {})
}

/** Waits until each has heard of every other. */
async function acquainted(daemons: readonly HostDaemon[]): Promise<void> {
  const deadline = performance.now() + ACQUAINTED_MS
  for (const daemon of daemons) {
    for (;;) {
      const members = (await daemon.peers()).filter(({ zone }) => zone !== undefined).length
      if (members >= daemons.length - 1) break
      if (performance.now() > deadline) throw new Error(`host ${daemon.host} knows ${members} of ${daemons.length - 1} others`)
      await delay(POLL_MS)
    }
  }
}

/** Waits until what starting and meeting costs has been paid. */
async function calm(daemons: readonly HostDaemon[], cores: number): Promise<void> {
  const deadline = performance.now() + CALM_MS
  const used = (): number => daemons.reduce((sum, { usage }) => sum + usage.cpuSeconds, 0)
  for (let before = used(); performance.now() < deadline; ) {
    const since = performance.now()
    await delay(1_000)
    const now = used()
    if ((now - before) / ((performance.now() - since) / 1_000) < CALM_SHARE * cores) return
    before = now
  }
}
