import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Image } from '../../examples/demo/image.ts'
import { startDockerRegistry } from '../../test/helpers/docker-registry.ts'
import { Spawned } from '../lib/process.ts'
import { type OriginRequest, parseAccessLine } from './access-log.ts'
import { type LinkBytes, linkBytes } from './counters.ts'
import type { Site } from './site.ts'

export const REPOSITORY = 'team/app'
export const TAG = 'v1'
const BINARY = '/usr/bin/docker-registry'
const START_MS = 10_000

/** Where the content comes from: a program on host 0. */
export interface Origin extends AsyncDisposable {
  readonly url: string
  /** What it has answered since it was started. */
  readonly requests: readonly OriginRequest[]
  /** What its link has carried; `undefined` where hosts have no links of their own. */
  readonly link: LinkBytes | undefined
  /** kill -9: connections are cut. */
  kill(): Promise<void>
}

export function registryMissing(): boolean {
  return !existsSync(BINARY)
}

/** Puts an image into the directory of a registry. */
export async function fillRegistry(dir: string, image: Image): Promise<void> {
  await using registry = await startDockerRegistry({ dir })
  await registry.push(REPOSITORY, TAG, image)
}

/** docker-registry on host 0. @param dir as `fillRegistry` left it */
export async function openRegistry(options: {
  readonly site: Site
  readonly dir: string
  readonly signal: AbortSignal
}): Promise<Origin> {
  const { site, dir, signal } = options
  const config = join(dir, 'serve.yml')
  await mkdir(dir, { recursive: true })
  await writeFile(config, JSON.stringify(configuration(dir, `${site.address(0)}:${site.port(5000)}`)))
  const requests: OriginRequest[] = []
  const listening = Promise.withResolvers<string>()
  const [command, ...args] = site.command(0, BINARY, 'serve', config)
  const spawned = new Spawned({
    command,
    args,
    signal,
    onLine(line) {
      const request = parseAccessLine(line)
      if (request !== undefined) requests.push(request)
    },
    onLog(line) {
      const address = /listening on ([\d.]+:\d+)/.exec(line)?.[1]
      if (address !== undefined) listening.resolve(address)
    },
  })
  try {
    const late = AbortSignal.timeout(START_MS)
    late.addEventListener('abort', () => listening.reject(new Error('docker-registry is silent')))
    return served(spawned, site, `http://${await spawned.while(listening.promise)}`, requests)
  } catch (error) {
    await spawned.kill()
    throw error
  }
}

export function served(spawned: Spawned, site: Site, url: string, requests: readonly OriginRequest[]): Origin {
  let last: LinkBytes | undefined
  const link = (): LinkBytes | undefined => (site.shaped ? (last ?? linkBytes(spawned.pid)) : undefined)
  const kill = async (): Promise<void> => {
    last = link()
    await spawned.kill()
  }
  return {
    url,
    requests,
    get link() {
      return link()
    },
    kill,
    [Symbol.asyncDispose]: () => spawned.kill(),
  }
}

function configuration(dir: string, addr: string): unknown {
  return {
    version: '0.1',
    log: { accesslog: { disabled: false }, level: 'info', formatter: 'text' },
    storage: { filesystem: { rootdirectory: join(dir, 'content') }, maintenance: { uploadpurging: { enabled: false } } },
    http: { addr, secret: 'bench' },
  }
}
