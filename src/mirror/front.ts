import type { IncomingMessage, ServerResponse } from 'node:http'
import { codeOf, ShoalError } from '../errors.ts'
import { type Answer, bytesAnswer, refusalAnswer } from './answer.ts'
import { answerBlob } from './blobs.ts'
import { browserRefusal } from './browser-guard.ts'
import { isLoop } from './loop.ts'
import { answerManifest } from './manifests.ts'
import type { MirrorOptions } from './mirror.ts'
import { refusal, refusalOf, type Subject } from './oci-errors.ts'
import { Ping } from './ping.ts'
import { isLoopback, isPrivateName } from './private-name.ts'
import { answerRelayed } from './relay.ts'
import { parseRoute, type Route } from './route.ts'
import { ClientGone, type SendOptions, send } from './send.ts'
import type { Asked, Serving } from './serving.ts'

interface Circumstances {
  readonly closing: boolean
  readonly listensOnLoopback: boolean
}

/** Takes each request from its headers to its last byte. */
export class Front {
  readonly #serving: Serving
  readonly #options: MirrorOptions
  readonly #pings: Ping
  readonly #upstreams: ReadonlySet<string>

  constructor(serving: Serving, options: MirrorOptions) {
    this.#serving = serving
    this.#options = options
    const { upstreams = [], defaultUpstream, via, log, now = () => performance.now() } = options
    this.#pings = new Ping({ backend: serving.backend, access: serving.access, defaultUpstream, via, log, now })
    this.#upstreams = new Set(
      [...upstreams, ...(defaultUpstream === undefined ? [] : [defaultUpstream])].map((n) => n.toLowerCase()),
    )
  }

  async serve(request: IncomingMessage, response: ServerResponse, circumstances: Circumstances): Promise<void> {
    const { socket } = request
    const gone = new AbortController()
    const onClose = () => gone.abort(new ClientGone())
    socket.once('close', onClose)
    const { cuts } = this.#serving
    const { metrics, stalledMs } = this.#options
    const options = { head: request.method === 'HEAD', cuts, metrics, stalledMs, signal: gone.signal }
    const route = this.#route(request, circumstances)
    setCommon(response, route, circumstances.closing)
    try {
      await send(response, await this.#answer(request, route, circumstances, gone.signal), options)
    } catch (error) {
      await this.#failed(error, request, response, route, options)
    } finally {
      socket.off('close', onClose)
    }
  }

  #route(request: IncomingMessage, { listensOnLoopback }: Circumstances): Route {
    const { headers, method = '', url = '' } = request
    const { defaultUpstream, via } = this.#options
    const page = browserRefusal(headers, listensOnLoopback)
    if (page !== undefined) return { type: 'refused', refusal: refusal(403, 'DENIED', page) }
    const route = parseRoute(method, url, defaultUpstream)
    if (!('registry' in route)) return route
    if (isLoop(headers.via, via)) {
      return { type: 'refused', refusal: refusal(404, 'NAME_UNKNOWN', `${route.registry} leads back to this mirror`) }
    }
    if (isPrivateName(route.registry) && !this.#upstreams.has(route.registry)) {
      const message = `${route.registry} is a private address: name it as an upstream to allow it`
      return { type: 'refused', refusal: refusal(403, 'DENIED', message) }
    }
    return route
  }

  /** A password is asked for only where the whole way to the client is this host's own loopback. */
  async #ping({ headers, socket }: IncomingMessage, { listensOnLoopback }: Circumstances, signal: AbortSignal): Promise<Answer> {
    const { authorization, via } = headers
    const mayAsk = listensOnLoopback && isLoopback(socket.remoteAddress ?? '')
    const challenge = mayAsk ? await this.#pings.challenge({ authorization, via }, { signal }) : undefined
    if (challenge === undefined) return bytesAnswer(200, Buffer.from('{}'), { 'content-type': 'application/json' })
    const message = `${this.#options.defaultUpstream} wants a password`
    return refusalAnswer(refusal(401, 'UNAUTHORIZED', message, { 'www-authenticate': challenge }))
  }

  async #answer(request: IncomingMessage, route: Route, circumstances: Circumstances, signal: AbortSignal): Promise<Answer> {
    if (route.type === 'ping') return await this.#ping(request, circumstances, signal)
    if (route.type === 'refused') {
      this.#log(request, route.refusal.status, route.refusal.code, route.refusal.message)
      return refusalAnswer(route.refusal)
    }
    const { headers, method } = request
    const { registry, repository, ns } = route
    const head = method === 'HEAD'
    const asked: Asked = {
      registry,
      repository,
      authorization: headers.authorization,
      via: headers.via,
      head,
      hasFallback: ns !== undefined,
      headers,
      signal,
    }
    if (route.type === 'manifest') return await answerManifest(this.#serving, asked, route.reference)
    if (route.type === 'blob') return await answerBlob(this.#serving, asked, route.digest)
    return await answerRelayed(this.#serving, { ...asked, overLoopback: overLoopback(request) }, route)
  }

  async #failed(
    error: unknown,
    request: IncomingMessage,
    response: ServerResponse,
    route: Route,
    options: SendOptions,
  ): Promise<void> {
    if (options.signal.aborted || error instanceof ClientGone) {
      this.#options.log.debug({ path: pathOf(request) }, 'the client went away')
      request.socket.destroy()
      return
    }
    if (response.headersSent) {
      this.#log(request, response.statusCode, codeOf(error) ?? 'INTERNAL', `cut: ${messageOf(error)}`, error)
      request.socket.destroy()
      return
    }
    const refused = refusalOf(error, subjectOf(route), overLoopback(request))
    this.#log(request, refused.status, codeOf(error) ?? 'INTERNAL', messageOf(error), error)
    try {
      await send(response, refusalAnswer(refused), options)
    } catch {
      request.socket.destroy()
    }
  }

  /** One line for each request that failed. Queries and credentials stay out of it. */
  #log(request: IncomingMessage, status: number, code: string, message: string, error?: unknown): void {
    const line = { method: request.method, path: pathOf(request), status, code, client: request.socket.remoteAddress }
    if (error !== undefined && !(error instanceof ShoalError)) this.#options.log.error({ ...line, err: error }, message)
    else if (status >= 500 || message.startsWith('cut: ')) this.#options.log.warn(line, message)
    else this.#options.log.info(line, message)
  }
}

function setCommon(response: ServerResponse, route: Route, closing: boolean): void {
  response.setHeader('docker-distribution-api-version', 'registry/2.0')
  response.setHeader('x-content-type-options', 'nosniff')
  if ('ns' in route && route.ns !== undefined) response.setHeader('oci-namespace', route.ns)
  const refusesBody = route.type === 'refused' && route.refusal.status === 405
  if (closing || refusesBody) response.setHeader('connection', 'close')
}

function subjectOf(route: Route): Subject {
  return route.type === 'manifest' || route.type === 'blob' ? route.type : 'name'
}

function pathOf(request: IncomingMessage): string {
  return (request.url ?? '').split('?', 1)[0]?.slice(0, 300) ?? ''
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function overLoopback(request: IncomingMessage): boolean {
  return isLoopback(request.socket.remoteAddress ?? '')
}
