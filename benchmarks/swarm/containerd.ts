import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Spawned } from '../lib/process.ts'
import { REGISTRY } from './host-daemon.ts'
import type { Site } from './site.ts'

export interface ContainerdOptions {
  readonly site: Site
  readonly host: number
  /** What it pulls through: the URL of the host's own mirror. */
  readonly mirror: string
  /** Its own; made. */
  readonly dir: string
  readonly signal: AbortSignal
}

const START_MS = 20_000
/** What fetching needs nothing of; some would leave directories outside of `dir`. */
const DISABLED = [
  'io.containerd.grpc.v1.cri',
  'io.containerd.internal.v1.opt',
  'io.containerd.internal.v1.tracing',
  'io.containerd.tracing.processor.v1.otlp',
  ...['aufs', 'btrfs', 'devmapper', 'overlayfs', 'zfs'].map((name) => `io.containerd.snapshotter.v1.${name}`),
]

/** A host's container runtime, with its host's mirror as the one way to the registry. */
export class Containerd implements AsyncDisposable {
  readonly #spawned: Spawned
  /** Of its socket. */
  readonly address: string
  readonly hostsDir: string

  private constructor(spawned: Spawned, address: string, hostsDir: string) {
    this.#spawned = spawned
    this.address = address
    this.hostsDir = hostsDir
  }

  /** Whether it and its command line are installed. */
  static get installed(): boolean {
    return ['containerd', 'ctr'].every((name) => existsSync(`/usr/bin/${name}`))
  }

  static async start({ site, host, mirror, dir, signal }: ContainerdOptions): Promise<Containerd> {
    const address = join(dir, 'c.sock')
    const hostsDir = join(dir, 'hosts')
    const config = join(dir, 'config.toml')
    await mkdir(join(hostsDir, REGISTRY), { recursive: true })
    await writeFile(join(hostsDir, REGISTRY, 'hosts.toml'), hostsFile(mirror))
    await writeFile(config, configuration(dir, address))
    const booted = Promise.withResolvers<void>()
    const [command, ...args] = site.command(host, '/usr/bin/containerd', '--config', config)
    const onLog = (line: string): void => {
      if (line.includes('containerd successfully booted')) booted.resolve()
    }
    const spawned = new Spawned({ command, args, signal, onLog })
    const late = setTimeout(() => booted.reject(new Error('containerd is silent')), START_MS)
    try {
      await spawned.while(booted.promise)
      return new Containerd(spawned, address, hostsDir)
    } catch (error) {
      await spawned.kill()
      throw error
    } finally {
      clearTimeout(late)
    }
  }

  get cpuSeconds(): number {
    return this.#spawned.usage.cpuSeconds
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#spawned.kill()
  }
}

/** No other host: what the mirror can't serve fails. */
function hostsFile(mirror: string): string {
  return `server = "${mirror}"\n[host."${mirror}"]\n  capabilities = ["pull", "resolve"]\n`
}

function configuration(dir: string, address: string): string {
  return `version = 2
root = "${join(dir, 'root')}"
state = "${join(dir, 'state')}"
disabled_plugins = ${JSON.stringify(DISABLED)}
[grpc]
address = "${address}"
`
}
