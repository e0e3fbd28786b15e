import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Image, ImageOptions } from '../../examples/demo/image.ts'
import { startDockerRegistry } from '../../test/helpers/docker-registry.ts'
import { Spawned } from '../lib/process.ts'
import { type OriginRequest, parseAccessLine } from './access-log.ts'
import { type LinkBytes, linkBytes } from './counters.ts'
import type { Site } from './site.ts'

export const REPOSITORY = 'team/app'
export const TAG = 'v1'
const BINARY = '/usr/bin/docker-registry'
const BROKEN = new URL('broken-origin.ts', import.meta.url).pathname
const PORT = 5000
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

/** How an origin fails. */
export interface OriginFaults {
  /** Of bodies, on one connection. */
  readonly dropAfterBytes: number
  /** Every so many-th request is answered with 503. */
  readonly refuseEvery: number
}

export interface BrokenOriginOptions extends OriginFaults {
  readonly host: string
  readonly port: number
  readonly repository: string
  readonly tag: string
  readonly image: ImageOptions
}

export function registryMissing(): boolean {
  return !existsSync(BINARY)
}

/** Puts an image into the directory of a registry, and another one by the side of it. */
export async function fillRegistry(dir: string, image: Image, beside: Image): Promise<void> {
  await using registry = await startDockerRegistry({ dir })
  await registry.push(REPOSITORY, TAG, image)
  await registry.push(REPOSITORY, 'warm', beside)
}

/** docker-registry on host 0. @param dir as `fillRegistry` left it */
export async function openRegistry(site: Site, dir: string, signal: AbortSignal): Promise<Origin> {
  const config = join(dir, 'serve.yml')
  await mkdir(dir, { recursive: true })
  await writeFile(config, JSON.stringify(configuration(dir, `${site.address(0)}:${site.port(PORT)}`)))
  const requests: OriginRequest[] = []
  const listening = Promise.withResolvers<string>()
  const [command, ...args] = site.command(0, BINARY, 'serve', config)
  const onLine = (line: string): void => {
    const request = parseAccessLine(line)
    if (request !== undefined) requests.push({ ...request, at: Date.now() })
  }
  const onLog = (line: string): void => {
    const address = /listening on ([\d.]+:\d+)/.exec(line)?.[1]
    if (address !== undefined) listening.resolve(address)
  }
  const spawned = new Spawned({ command, args, signal, onLine, onLog })
  try {
    AbortSignal.timeout(START_MS).addEventListener('abort', () => listening.reject(new Error('docker-registry is silent')))
    return originOf(spawned, site, `http://${await spawned.while(listening.promise)}`, requests)
  } catch (error) {
    await spawned.kill()
    throw error
  }
}

/** A registry on host 0 that fails on purpose. */
export async function openBrokenOrigin(
  site: Site,
  image: ImageOptions,
  faults: OriginFaults,
  signal: AbortSignal,
): Promise<Origin> {
  const options: BrokenOriginOptions = {
    host: site.address(0),
    port: site.port(PORT),
    repository: REPOSITORY,
    tag: TAG,
    image,
    ...faults,
  }
  const [command, ...args] = site.command(0, process.execPath, BROKEN, JSON.stringify(options))
  const requests: OriginRequest[] = []
  const onLine = (line: string): void => {
    const request = JSON.parse(line) as OriginRequest | { readonly url: string }
    if ('method' in request) requests.push({ ...request, at: Date.now() })
  }
  const spawned = new Spawned({ command, args, signal, onLine })
  try {
    const { url } = JSON.parse(await spawned.line()) as { url: string }
    return originOf(spawned, site, url, requests)
  } catch (error) {
    await spawned.kill()
    throw error
  }
}

function originOf(spawned: Spawned, site: Site, url: string, requests: readonly OriginRequest[]): Origin {
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
