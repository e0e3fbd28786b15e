import { Agent, request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'
import { connect, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { type Mirror, type MirrorOptions, openMirror } from '../../src/mirror/mirror.ts'
import { SILENT } from '../../src/telemetry/log.ts'
import { NO_METRICS } from '../../src/telemetry/metrics.ts'
import { FakeNode } from './fake-node.ts'

export interface Got {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
  /** Whether the body ended as its Content-Length said. */
  readonly complete: boolean
}

export interface Rig {
  readonly node: FakeNode
  readonly mirror: Mirror
  readonly port: number
  get(path: string, headers?: Record<string, string | string[]>, method?: string): Promise<Got>
  head(path: string, headers?: Record<string, string>): Promise<Got>
  /** A bare connection, ended with the test. */
  dial(): Promise<Socket>
}

/** A mirror over a fake node, closed at the end of the test. */
export async function rig(t: TestContext, options: Partial<MirrorOptions> = {}): Promise<Rig> {
  const node = new FakeNode(options.wallClock)
  const mirror = await openMirror({
    backend: node,
    listen: { host: '127.0.0.1', port: 0 },
    defaultUpstream: undefined,
    shared: false,
    tagTtlMs: 60_000,
    log: SILENT,
    metrics: NO_METRICS,
    ...options,
  })
  const agent = new Agent({ keepAlive: true })
  const sockets: Socket[] = []
  t.after(async () => {
    agent.destroy()
    for (const socket of sockets) socket.destroy()
    await mirror.close(0)
  })
  const port = Number(mirror.address.split(':').at(-1))
  const get: Rig['get'] = (path, headers = {}, method = 'GET') => fetchOver(agent, port, path, headers, method)
  const dial = async () => {
    const socket = connect(port, '127.0.0.1')
    sockets.push(socket)
    socket.on('error', () => {})
    await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    return socket
  }
  return { node, mirror, port, get, head: (path, headers = {}) => get(path, headers, 'HEAD'), dial }
}

async function fetchOver(
  agent: Agent,
  port: number,
  path: string,
  headers: Record<string, string | string[]>,
  method: string,
): Promise<Got> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  httpRequest({ host: '127.0.0.1', port, path, method, headers, agent }, resolve).on('error', reject).end()
  const response = await promise
  const chunks: Buffer[] = []
  let complete = true
  try {
    for await (const chunk of response) chunks.push(chunk as Buffer)
  } catch {
    complete = false
  }
  return { status: response.statusCode ?? 0, headers: response.headers, body: Buffer.concat(chunks), complete }
}

/** Everything that a socket receives until it is closed. */
export async function untilClosed(socket: Socket): Promise<string> {
  const chunks: Buffer[] = []
  socket.on('data', (chunk: Buffer) => chunks.push(chunk))
  await new Promise<void>((resolve) => socket.once('close', () => resolve()))
  return Buffer.concat(chunks).toString('latin1')
}

/** The code of the first error in a registry's error body. */
export function errorCode(got: Got): string {
  return (JSON.parse(got.body.toString()) as { errors: [{ code: string }] }).errors[0].code
}
