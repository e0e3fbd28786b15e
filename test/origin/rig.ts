/** An origin in front of a registry whose faults can be switched, for the tests of this folder. */
import type { TestContext } from 'node:test'
import { createImage, type Image } from '../../examples/demo/image.ts'
import { HostLimits, type HostLimitsOptions } from '../../src/origin/host-limits.ts'
import { type OriginOptions, openOrigin } from '../../src/origin/open-origin.ts'
import type { OriginBody, OriginSource, ZoneOrigin } from '../../src/origin/origin.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { type Faults, type FaultyOrigin, openFaultyOrigin } from '../helpers/faulty-origin.ts'

export interface Rig {
  readonly origin: ZoneOrigin
  readonly registry: FaultyOrigin
  readonly image: Image
  /** A layer of 300 KB. */
  readonly layer: Image['manifest']
  readonly signal: AbortSignal
  /** The repository's blobs, or manifests, as this client. */
  source(authorization?: string, kind?: 'blob' | 'manifest'): OriginSource
  open(range?: { start: number; end?: number }, authorization?: string): Promise<OriginBody>
  /** The layer's true bytes. */
  bytes(start?: number, end?: number): Buffer
}

export const REPOSITORY = 'library/app'
/** One image for all tests. */
const IMAGE = createImage({ seed: 'origin tests', layerBytes: [300_000, 5_000_000] })

export async function openRig(
  t: TestContext,
  options: { faults?: Faults; login?: string; name?: string } & Partial<
    Pick<OriginOptions, 'timeouts' | 'requests' | 'rate' | 'download' | 'onPause'>
  > = {},
): Promise<Rig> {
  const registry = await openFaultyOrigin()
  t.after(() => registry.close())
  registry.addImage(REPOSITORY, 'v1', IMAGE)
  registry.faults = options.faults ?? {}
  const upstream = new URL(registry.url)
  if (options.login !== undefined) [upstream.username = '', upstream.password = ''] = options.login.split(':')
  if (options.name !== undefined) upstream.hostname = options.name
  const { faults, login, name, ...rest } = options
  const origin = await openOrigin({
    upstreams: new Map([['docker.io', upstream]]),
    log: SILENT,
    lookup: loopbackLookup,
    ...rest,
  })
  t.after(() => origin[Symbol.asyncDispose]())
  const layer = IMAGE.layers[0] as Image['manifest']
  const source = (authorization?: string, kind: 'blob' | 'manifest' = 'blob') =>
    ({ type: 'registry', registry: 'docker.io', repository: REPOSITORY, kind, authorization }) as const
  return {
    origin,
    registry,
    image: IMAGE,
    layer,
    signal: t.signal,
    source,
    open: (range = { start: 0 }, authorization) => origin.open(source(authorization), layer.digest, range, { signal: t.signal }),
    bytes: (start, end) => Buffer.concat([...layer.read(start, end)]),
  }
}

export function hostLimits(options: Partial<HostLimitsOptions> = {}): HostLimits {
  return new HostLimits({ requests: new Map(), rate: new Map(), upstreams: new Map(), defaultRequests: 8, ...options })
}

/** Every name is this host, so that tests can use names without leaving it. */
const loopbackLookup = ((_name: string, options: { all?: boolean }, callback: (...answer: unknown[]) => void) => {
  if (options.all === true) callback(null, [{ address: '127.0.0.1', family: 4 }])
  else callback(null, '127.0.0.1', 4)
}) as unknown as NonNullable<OriginOptions['lookup']>

export async function collect(body: OriginBody | { readonly body: AsyncIterable<Uint8Array> }): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of body.body) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** For `assert.rejects`. */
export function withCode(code: string, message = /./): (error: unknown) => boolean {
  return (error) => {
    const { code: found, message: said } = error as { code?: string; message: string }
    if (found === code && message.test(said)) return true
    throw error
  }
}
