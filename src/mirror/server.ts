import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { ShoalError } from '../errors.ts'

/** Go's clients keep idle connections for 30 to 90 s; closing one sooner races with their next request. */
const KEEP_ALIVE_MS = 120_000
const REQUEST_TIMEOUT_MS = 60_000
/** Room for long tokens and long lists of ranges. */
const MAX_HEADER_BYTES = 64 * 1024
const MAX_CONNECTIONS = 4096

export type Serve = (request: IncomingMessage, response: ServerResponse, closing: boolean) => Promise<void>

/** A plain HTTP/1.1 listener, set up for registry clients. */
export class HttpServer {
  readonly #server: Server
  readonly #serving = new Set<Promise<void>>()
  #closing = false

  constructor(serve: Serve) {
    this.#server = createServer({
      maxHeaderSize: MAX_HEADER_BYTES,
      keepAliveTimeout: KEEP_ALIVE_MS,
      headersTimeout: REQUEST_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      noDelay: true,
    })
    this.#server.maxConnections = MAX_CONNECTIONS
    const onRequest = (request: IncomingMessage, response: ServerResponse) => {
      if (request.httpVersionMajor < 1) return refuseGarbage(request.socket, BAD_REQUEST)
      const served = serve(request, response, this.#closing).finally(() => {
        this.#serving.delete(served)
        if (this.#closing) setImmediate(() => this.#server.closeIdleConnections())
      })
      this.#serving.add(served)
    }
    // every request that was sent ahead listens for the end of its connection
    this.#server.on('connection', (socket) => socket.setMaxListeners(1_000))
    this.#server.on('request', onRequest)
    // who asks before sending a body is told no without being invited to send it
    this.#server.on('checkContinue', onRequest)
    this.#server.on('clientError', answerGarbage)
  }

  /** @throws ShoalError ADDRESS_INVALID when it can't be listened on */
  async listen(host: string, port: number): Promise<AddressInfo> {
    this.#server.listen({ host, port })
    try {
      await once(this.#server, 'listening')
    } catch (cause) {
      throw new ShoalError('ADDRESS_INVALID', `can't listen on ${host}:${port}: ${(cause as Error).message}`, { cause })
    }
    return this.#server.address() as AddressInfo
  }

  /** Takes no more connections, lets what is being answered end within `graceMs`, then cuts it. */
  async close(graceMs: number): Promise<void> {
    this.#closing = true
    const closed = this.#server.listening ? once(this.#server, 'close') : Promise.resolve()
    this.#server.close()
    this.#server.closeIdleConnections()
    const timer = setTimeout(() => this.#server.closeAllConnections(), graceMs)
    await closed
    clearTimeout(timer)
    await Promise.allSettled(this.#serving)
  }
}

const BAD_REQUEST = '400 Bad Request'
const GARBAGE: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: '431 Request Header Fields Too Large',
  ERR_HTTP_REQUEST_TIMEOUT: '408 Request Timeout',
}

/** A TLS hello among others: clients that try TLS first recognise a plain HTTP answer. */
function answerGarbage(error: NodeJS.ErrnoException, socket: Socket): void {
  const midAnswer = '_httpMessage' in socket && socket._httpMessage != null
  if (error.code === 'ECONNRESET' || !socket.writable || midAnswer) socket.destroy()
  else refuseGarbage(socket, GARBAGE[error.code ?? ''] ?? BAD_REQUEST)
}

function refuseGarbage(socket: Socket, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`, () => socket.destroy())
}
