import { Agent, request as httpRequest, type IncomingMessage } from 'node:http'
import { pipeline } from 'node:stream/promises'
import { formatHostPort, type HostPort } from '../config-values.ts'
import { isErrorCode, ShoalError } from '../errors.ts'

export interface RequestOptions {
  readonly signal: AbortSignal
  readonly query?: Readonly<Record<string, string | undefined>>
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: AsyncIterable<Uint8Array> | undefined
}

/** The local daemon, as the command line sees it. Close it to let the process end. */
export interface ControlClient extends Disposable {
  /** @returns the answer of a request that went well; read or destroy it. @throws ShoalError with the daemon's code, or DAEMON_UNREACHABLE */
  request(method: string, path: string, options: RequestOptions): Promise<IncomingMessage>
  json<T>(method: string, path: string, options: RequestOptions): Promise<T>
  /** Each line of an `application/x-ndjson` answer; a line that is an error is thrown. */
  lines<T>(method: string, path: string, options: RequestOptions): AsyncIterable<T>
}

/** An answer that is read as one piece of JSON is at most this long. */
const MAX_JSON_BYTES = 64 << 20

export function createControlClient(control: HostPort, token: string | undefined): ControlClient {
  const agent = new Agent({ keepAlive: true })
  const name = formatHostPort(control)

  async function request(method: string, path: string, options: RequestOptions): Promise<IncomingMessage> {
    const query = new URLSearchParams(
      Object.entries(options.query ?? {}).filter((e): e is [string, string] => e[1] !== undefined),
    )
    const res = await send(`${path}${query.size > 0 ? `?${query}` : ''}`, method, options)
    if ((res.statusCode ?? 500) < 400) return res
    const error = await errorOf(res, options.signal, name)
    res.destroy()
    throw error
  }

  function send(path: string, method: string, { signal, headers = {}, body }: RequestOptions): Promise<IncomingMessage> {
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
    const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` }
    const { host, port } = control
    const req = httpRequest({ agent, host, port, method, path, signal, headers: { ...headers, ...authorization } })
    let sourceError: unknown
    req.on('error', (cause) => reject(signal.aborted ? signal.reason : (sourceError ?? unreachable(name, cause))))
    req.on('response', (res) => {
      // what an answer ends with is seen where it is read
      res.on('error', () => {})
      resolve(res)
    })
    async function* watched(source: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
      try {
        yield* source
      } catch (error) {
        sourceError = error
        throw error
      }
    }
    if (body === undefined) req.end()
    else pipeline(watched(body), req).catch(() => {})
    return promise
  }

  async function* lines<T>(method: string, path: string, options: RequestOptions): AsyncIterable<T> {
    let rest = ''
    const res = (await request(method, path, options)).setEncoding('utf8')
    for await (const text of reading(res, options.signal, name)) {
      const parts = (rest + text).split('\n')
      rest = parts.pop() ?? ''
      for (const line of parts) yield parsed<T>(line, name)
    }
  }

  return {
    request,
    lines,
    async json<T>(method: string, path: string, options: RequestOptions): Promise<T> {
      return parsed<T>(await readText(await request(method, path, options), options.signal, name), name)
    },
    [Symbol.dispose]() {
      agent.destroy()
    },
  }
}

async function readText(res: IncomingMessage, signal: AbortSignal, name: string): Promise<string> {
  let text = ''
  for await (const part of reading(res.setEncoding('utf8'), signal, name)) {
    text += part
    if (text.length > MAX_JSON_BYTES)
      throw new ShoalError('DAEMON_UNREACHABLE', `what answers on ${name} is not a shoal daemon: too long an answer`)
  }
  return text
}

/** The body, with a cut turned into an error with a code. */
async function* reading(res: IncomingMessage, signal: AbortSignal, name: string): AsyncIterable<string> {
  try {
    yield* res as AsyncIterable<string>
  } catch (cause) {
    throw signal.aborted ? signal.reason : new ShoalError('DAEMON_UNREACHABLE', `the daemon on ${name} cut its answer`, { cause })
  }
}

function parsed<T>(text: string, name: string): T {
  let value: T & { error?: unknown }
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new ShoalError('DAEMON_UNREACHABLE', `what answers on ${name} is not a shoal daemon: not JSON`, { cause })
  }
  if (value !== null && typeof value === 'object' && 'error' in value) throw told(value, name, 200)
  return value
}

async function errorOf(res: IncomingMessage, signal: AbortSignal, name: string): Promise<Error> {
  try {
    return told(JSON.parse(await readText(res, signal, name)), name, res.statusCode)
  } catch {
    return told(undefined, name, res.statusCode)
  }
}

/** The error that the daemon told of, as it was thrown there. */
function told(answer: unknown, name: string, status: number | undefined): Error {
  const error = (answer as { error?: { code?: unknown; message?: unknown } } | undefined)?.error
  if (isErrorCode(error?.code)) return new ShoalError(error.code, String(error.message))
  if (error?.code === 'INTERNAL') return new Error(String(error.message))
  return new ShoalError('DAEMON_UNREACHABLE', `what answers on ${name} is not a shoal daemon: status ${status}`)
}

function unreachable(name: string, cause: unknown): ShoalError {
  const why = (cause as NodeJS.ErrnoException).code ?? (cause as Error).message
  return new ShoalError(
    'DAEMON_UNREACHABLE',
    `no daemon answers on ${name} (${why}): start one with "shoal daemon", or give --control HOST:PORT`,
    {
      cause,
    },
  )
}
