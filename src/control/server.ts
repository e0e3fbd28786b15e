import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { formatReference, type Reference } from '../../protocols/reference.ts'
import { formatHostPort, type HostPort, isLoopback } from '../config-values.ts'
import { codeOf, ShoalError } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import { answerError, answerJson, answerText } from './answer.ts'
import type { ControlBackend } from './backend.ts'
import { answerBan, listBans } from './bans.ts'
import { addBlob, type BlobContext, fetchBlob, listBlobs, readBlob, removeBlob } from './blobs.ts'
import { admit } from './guard.ts'
import { type Route, route } from './route.ts'

export interface ControlOptions {
  readonly node: ControlBackend
  readonly listen: HostPort
  /** What callers must show; `undefined` on loopback lets every local program in. */
  readonly token: string | undefined
  readonly metrics: Pick<Metrics, 'served'> & { text(): Promise<string>; readonly contentType: string }
  /** The operator declares all content shared: what was fetched with credentials is shown too. */
  readonly shared?: boolean
  /** HOST:PORT of the mirror, for the status. */
  readonly mirror?: string | undefined
  readonly log: Log
}

export interface Control extends AsyncDisposable {
  /** HOST:PORT that was bound. */
  readonly address: string
  close(): Promise<void>
}

/** Bounds what callers who open connections and say nothing can hold. */
const MAX_CONNECTIONS = 1_024
const LIMITS = Object.freeze({
  // an upload takes as long as it takes: it is bounded by progress instead (blobs.ts)
  requestTimeout: 0,
  headersTimeout: 30_000,
  keepAliveTimeout: 120_000,
})

/** Opens the control listener. @throws ShoalError ADDRESS_INVALID when it can't listen there */
export async function openControl(options: ControlOptions): Promise<Control> {
  const { listen, log } = options
  const closing = new AbortController()
  const server = createServer(LIMITS)
  server.maxConnections = MAX_CONNECTIONS
  const address = await bind(server, listen)
  server.on('request', (req, res) => {
    void serve(req, res, { ...options, address, closing: closing.signal })
  })
  server.on('error', (err) => log.warn({ err }, 'control listener'))
  const closed = once(server, 'close')
  async function close(): Promise<void> {
    closing.abort(new ShoalError('NODE_CLOSED', 'the node is stopping'))
    server.close()
    server.closeAllConnections()
    await closed
  }
  log.debug({ control: address }, 'control listening')
  return { address, close, [Symbol.asyncDispose]: close }
}

async function bind(server: Server, listen: HostPort): Promise<string> {
  try {
    server.listen(listen.port, listen.host)
    await once(server, 'listening')
  } catch (cause) {
    throw new ShoalError('ADDRESS_INVALID', `control can't listen on ${formatHostPort(listen)}: ${(cause as Error).message}`, {
      cause,
    })
  }
  return formatHostPort({ host: listen.host, port: (server.address() as AddressInfo).port })
}

interface Serving extends ControlOptions {
  readonly address: string
  readonly closing: AbortSignal
}

async function serve(req: IncomingMessage, res: ServerResponse, serving: Serving): Promise<void> {
  const gone = new AbortController()
  res.on('close', () => gone.abort(new ShoalError('REQUEST_INVALID', 'the caller is gone')))
  res.on('error', () => {})
  const signal = AbortSignal.any([gone.signal, serving.closing])
  try {
    const to = route(req.method ?? '', req.url ?? '')
    if (to.type !== 'health' && to.type !== 'ready') {
      admit(req.headers, { token: serving.token, loopback: isLoopback(serving.listen.host) })
    }
    await answer(to, req, res, serving, signal)
  } catch (error) {
    report(serving.log, req, error, gone.signal.aborted)
    answerError(res, error)
  }
}

async function answer(
  to: Route,
  req: IncomingMessage,
  res: ServerResponse,
  serving: Serving,
  signal: AbortSignal,
): Promise<void> {
  const { node, metrics } = serving
  const context: BlobContext = { node, metrics, signal, trusted: serving.shared === true || serving.token !== undefined }
  switch (to.type) {
    case 'blob':
      if (to.method === 'DELETE') return removeBlob(res, to.digest, context)
      return to.method === 'POST' ? fetchBlob(res, to, context) : readBlob(req, res, to, context)
    case 'add':
      return addBlob(req, res, to, context)
    case 'list':
      return listBlobs(res, context)
    case 'resolve':
      return answerJson(res, 200, await resolve(to.reference, node, signal))
    case 'status':
      return answerJson(res, 200, { ...(await node.status()), mirror: serving.mirror, control: serving.address })
    case 'peers':
      return answerJson(res, 200, { peers: node.peers() })
    case 'bans':
      return listBans(res, node)
    case 'ban':
      return answerBan(res, to, node)
    case 'metrics':
      return answerText(res, 200, metrics.contentType, await metrics.text())
    case 'health':
      return answerText(res, 200, 'text/plain', 'ok\n')
    case 'ready':
      return answerText(
        res,
        serving.closing.aborted ? 503 : 200,
        'text/plain',
        serving.closing.aborted ? 'stopping\n' : 'ready\n',
      )
    case 'method':
      res.setHeader('allow', to.allow)
      return answerJson(res, 405, refusal(`${req.method} is not possible here, but ${to.allow}`))
    case 'unknown':
      return answerJson(res, 404, refusal('there is no such resource'))
  }
}

/** What an image reference means now: its digest, or what its tag (`latest` when none is given) stands for. */
async function resolve(reference: Reference, node: ControlBackend, signal: AbortSignal): Promise<object> {
  const { registry, repository, digest } = reference
  if (digest !== undefined) return { registry, repository, reference: formatReference(reference), digest }
  const tag = reference.tag ?? 'latest'
  const resolved = await node.resolveTag({ registry, repository, tag }, { signal })
  const { mediaType, size } = resolved
  return { registry, repository, reference: formatReference({ ...reference, tag }), digest: resolved.digest, mediaType, size }
}

function refusal(message: string): object {
  return { error: { code: 'REQUEST_INVALID', message } }
}

/** Loud only for what nobody foresaw: the part that failed has told what it knows in its own line. */
function report(log: Log, req: IncomingMessage, error: unknown, callerGone: boolean): void {
  const code = codeOf(error)
  const line = { method: req.method, path: (req.url ?? '').split('?')[0], code, message: (error as Error).message }
  if (callerGone) log.debug(line, 'control caller went away')
  else if (code === undefined) log.error({ ...line, err: error }, 'control request failed')
  else log.debug(line, 'control request refused')
}
