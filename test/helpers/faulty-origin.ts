/** A registry that does what the worst of them do, one switch each; and a token server to go with it. */
import { EventEmitter, once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { openRegistry, type Registry, type RegistryExchange, sendAnswer } from '../../examples/demo/registry.ts'

/** What is wrong; all of it at once where several are set. */
export interface Faults {
  /** Which requests the faults are for; all by default. */
  readonly applies?: (request: { readonly method: string; readonly path: string }) => boolean
  /** Only every so many-th of them; 1 by default. */
  readonly every?: number
  /** `false`: answers every range with the whole. */
  readonly ranges?: false
  /** Sends chunks without saying how many. */
  readonly noContentLength?: true
  /** Says this many bytes more than it has (and closes then), or fewer. */
  readonly contentLengthOff?: number
  /** Sent instead of the true one. */
  readonly contentRange?: string
  readonly headers?: Readonly<Record<string, string | undefined>>
  /** Flips a bit of the byte at this offset of the blob. */
  readonly corruptAt?: number
  /** Sends headers and body only up to here, and then nothing. */
  readonly hang?: 'before headers' | { readonly afterBytes: number }
  /** Drops each connection once it carried this many body bytes. */
  readonly cutAfterBytes?: number
  /** Destroys the connection without an answer. */
  readonly reset?: true
  readonly status?: number
  readonly retryAfter?: string
  /** Where to redirect to, if at all. */
  readonly redirect?: (path: string) => string | undefined
  /** Who is let in. */
  readonly auth?: Gate
}

export type Gate =
  | { readonly type: 'basic'; readonly username: string; readonly password: string }
  | {
      readonly type: 'bearer'
      readonly server: TokenServer
      readonly lets: (subject: string) => boolean
      readonly realm?: string
    }
  /** Says 404 to whoever does not carry exactly this. */
  | { readonly type: 'hidden'; readonly authorization: string }

export interface FaultyOrigin extends Registry {
  faults: Faults
  /** The `Authorization` of each request, oldest first. */
  readonly authorizations: readonly (string | undefined)[]
  /** The `Via` of each request, oldest first. */
  readonly vias: readonly (string | undefined)[]
  /** The client's port of each request, oldest first: one port is one connection. */
  readonly ports: readonly (number | undefined)[]
  /** Resolves when the next answer ends without having been sent whole. */
  nextCut(): Promise<void>
}

export async function openFaultyOrigin(options: { readonly port?: number } = {}): Promise<FaultyOrigin> {
  const authorizations: (string | undefined)[] = []
  const vias: (string | undefined)[] = []
  const ports: (number | undefined)[] = []
  const sent = new WeakMap<Socket, number>()
  const cut = new EventEmitter()
  let asked = 0
  const registry = await openRegistry({
    ...options,
    send: async (exchange) => {
      authorizations.push(exchange.request.headers.authorization)
      vias.push(exchange.request.headers.via)
      ports.push(exchange.request.socket.remotePort)
      exchange.response.once('close', () => exchange.response.writableFinished || cut.emit('cut'))
      const { faults } = origin
      const concerned = faults.applies?.(exchange.entry) ?? true
      if (!concerned || asked++ % (faults.every ?? 1) !== 0) return sendAnswer(exchange)
      return sendFaulty(exchange, faults, sent)
    },
  })
  const origin: FaultyOrigin = Object.assign(registry, {
    faults: {},
    authorizations,
    vias,
    ports,
    nextCut: async () => void (await once(cut, 'cut')),
  })
  return origin
}

async function sendFaulty(exchange: RegistryExchange, faults: Faults, sent: WeakMap<Socket, number>): Promise<void> {
  const { request, entry } = exchange
  if (faults.reset === true) return void request.socket.destroy()
  if (faults.hang === 'before headers') return
  const refused = faults.auth === undefined ? undefined : refusal(faults.auth, request.headers.authorization)
  if (refused !== undefined) return short(exchange, refused.status, refused.headers)
  const location = faults.redirect?.(entry.path)
  if (location !== undefined) return short(exchange, 307, { location })
  if (faults.status !== undefined)
    return short(exchange, faults.status, faults.retryAfter === undefined ? {} : { 'retry-after': faults.retryAfter })

  const answer = { ...exchange.answer, headers: { ...exchange.answer.headers } }
  if (faults.ranges === false && answer.status === 206) {
    const [, total] = String(answer.headers['Content-Range']).split('/')
    answer.status = 200
    answer.headers['Content-Length'] = Number(total)
    answer.body = exchange.whole()
    delete answer.headers['Content-Range']
  }
  if (faults.contentRange !== undefined) answer.headers['Content-Range'] = faults.contentRange
  if (faults.contentLengthOff !== undefined)
    answer.headers['Content-Length'] = Number(answer.headers['Content-Length']) + faults.contentLengthOff
  if (faults.noContentLength === true) delete answer.headers['Content-Length']
  for (const [name, value] of Object.entries(faults.headers ?? {})) {
    if (value === undefined) delete answer.headers[name]
    else answer.headers[name] = value
  }
  answer.body = withFaults(exchange, answer.body, firstByte(answer.headers['Content-Range']), faults, sent)
  await sendAnswer({ ...exchange, answer })
  if ((faults.contentLengthOff ?? 0) > 0 && request.method === 'GET') request.socket.destroy()
}

async function* withFaults(
  { response, request, entry }: RegistryExchange,
  body: Iterable<Uint8Array> | AsyncIterable<Uint8Array>,
  start: number,
  faults: Faults,
  sent: WeakMap<Socket, number>,
): AsyncGenerator<Uint8Array> {
  let at = start
  for await (const chunk of body) {
    const copy = Buffer.from(chunk)
    const flip = (faults.corruptAt ?? -1) - at
    if (flip >= 0 && flip < copy.length) copy[flip] = (copy[flip] as number) ^ 1
    at += copy.length
    if (typeof faults.hang === 'object' && at - start > faults.hang.afterBytes) {
      yield copy.subarray(0, copy.length - (at - start - faults.hang.afterBytes))
      await new Promise((resolve) => response.once('close', resolve))
      return
    }
    const before = sent.get(request.socket) ?? 0
    sent.set(request.socket, before + copy.length)
    if (before + copy.length <= (faults.cutAfterBytes ?? Number.POSITIVE_INFINITY)) {
      yield copy
      continue
    }
    const part = copy.subarray(0, Math.max((faults.cutAfterBytes as number) - before, 0))
    response.write(part, () => request.socket.destroySoon())
    entry.bytes += part.length
    await new Promise((resolve) => response.once('close', resolve))
    return
  }
}

function firstByte(contentRange: string | number | undefined): number {
  return Number(/^bytes (\d+)-/.exec(String(contentRange ?? ''))?.[1] ?? 0)
}

function refusal(gate: Gate, authorization: string | undefined): { status: number; headers: Record<string, string> } | undefined {
  switch (gate.type) {
    case 'basic':
      if (authorization === basic(gate.username, gate.password)) return undefined
      return { status: 401, headers: { 'www-authenticate': 'Basic realm="test"' } }
    case 'bearer': {
      const subject = gate.server.subjectOf(authorization)
      if (subject !== undefined && gate.lets(subject)) return undefined
      const error =
        authorization === undefined ? '' : `,error="${subject === undefined ? 'invalid_token' : 'insufficient_scope'}"`
      const realm = gate.realm ?? `${gate.server.url}/token`
      const challenge = `Bearer realm="${realm}",service="test",scope="repository:library/app:pull"${error}`
      return { status: 401, headers: { 'www-authenticate': challenge } }
    }
    case 'hidden':
      return authorization === gate.authorization ? undefined : { status: 404, headers: {} }
  }
}

async function short({ response, entry }: RegistryExchange, status: number, headers: Record<string, string>): Promise<void> {
  entry.status = status
  const body = JSON.stringify({ errors: [{ code: 'FAULT', message: `a fault with status ${status}` }] })
  response
    .writeHead(status, { ...headers, 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) })
    .end(body)
}

export function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}

export interface TokenServer extends AsyncDisposable {
  readonly url: string
  /** What was asked, oldest first. */
  readonly requests: readonly {
    readonly authorization: string | undefined
    readonly service: string | null
    readonly scopes: readonly string[]
  }[]
  /** Whom a `Bearer` value stands for: `nobody`, or a user name; `undefined` when it is not (or no longer) one of its tokens. */
  subjectOf(authorization: string | undefined): string | undefined
  /** Forgets all tokens given out so far. */
  revoke(): void
}

/** Gives tokens to nobody (as `nobody`) and to whoever logs in. */
export async function openTokenServer(
  options: {
    readonly accounts?: Readonly<Record<string, string>>
    readonly expiresInS?: number
    /** `false`: 401 without credentials. */
    readonly anonymous?: false
    /** Said instead of an answer. */
    readonly answer?: () =>
      | { readonly status: number; readonly headers?: Record<string, string>; readonly body?: string }
      | undefined
    /** Answers nothing. */
    readonly hang?: true
  } = {},
): Promise<TokenServer> {
  const requests: { authorization: string | undefined; service: string | null; scopes: string[] }[] = []
  const tokens = new Map<string, string>()
  let issued = 0
  const server = createServer((request, response) => {
    const { searchParams } = new URL(request.url ?? '/', 'http://token')
    const { authorization } = request.headers
    requests.push({ authorization, service: searchParams.get('service'), scopes: searchParams.getAll('scope') })
    const other = options.answer?.()
    if (options.hang === true) return
    if (other !== undefined) return void response.writeHead(other.status, other.headers).end(other.body)
    const accounts = Object.entries(options.accounts ?? {})
    const user = accounts.find(([name, password]) => authorization === basic(name, password))?.[0]
    const subject = user ?? (authorization === undefined && options.anonymous !== false ? 'nobody' : undefined)
    if (subject === undefined) return void response.writeHead(401).end()
    const token = `token-${++issued}`
    tokens.set(`Bearer ${token}`, subject)
    response
      .writeHead(200, { 'content-type': 'application/json' })
      .end(JSON.stringify({ token, expires_in: options.expiresInS ?? 300 }))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    subjectOf: (authorization) => tokens.get(authorization ?? ''),
    revoke: () => tokens.clear(),
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => server.once('close', resolve))
      server.close()
      server.closeAllConnections()
      await closed
    },
  }
}
