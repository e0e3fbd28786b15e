/** Debian's docker-registry (distribution 2.8) on loopback: the real upstream that most people run. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { request } from 'undici'
import type { Image, ImageBlob } from '../../examples/demo/image.ts'

const BINARY = '/usr/bin/docker-registry'
/** Who may pull when `auth` is on. */
export const REGISTRY_LOGIN = Object.freeze({ username: 'kelp', password: 'bladderwrack' })
/** The bcrypt of that password, at its lowest cost. */
const HTPASSWD = `${REGISTRY_LOGIN.username}:$2b$04$MhgRiLpvxWJBCOkXIgrdHeyCirjZBLpwUJMF5o.uJive3o.9WFlKW\n`
const START_TIMEOUT_MS = 10_000
const ACCESS_LINE = /"(\S+) (\S+) HTTP\/[\d.]+" (\d{3}) (\d+) "[^"]*" "([^"]*)"/

export interface LoggedRequest {
  readonly method: string
  readonly path: string
  readonly status: number
  readonly bytes: number
  readonly userAgent: string
}

export interface DockerRegistry extends AsyncDisposable {
  readonly url: string
  /** `127.0.0.1:PORT`, as in references. */
  readonly name: string
  readonly port: number
  readonly pid: number
  /** Completed requests so far, oldest first; those of `push` are left out. */
  accessLog(): readonly LoggedRequest[]
  /** Pushes an image into it. */
  push(repository: string, tag: string, image: Image): Promise<void>
  /** Kills it; connections are cut. Starting again with the same `dir` and `port` brings it back. */
  stop(): Promise<void>
}

/** Why tests with a real registry can't run on this machine; `undefined` when they can. In CI they must. */
export function dockerRegistryMissing(): string | undefined {
  if (existsSync(BINARY)) return undefined
  const reason = `${BINARY} is not installed`
  if (process.env.CI !== undefined) throw new Error(reason)
  return reason
}

export async function startDockerRegistry(options: {
  /** Where it keeps its content; need not exist. */
  readonly dir: string
  readonly port?: number
  /** Basic authentication: nobody but REGISTRY_LOGIN may pull. */
  readonly auth?: boolean
}): Promise<DockerRegistry> {
  const { dir, auth = false } = options
  await mkdir(join(dir, 'content'), { recursive: true })
  await writeFile(join(dir, 'htpasswd'), HTPASSWD)
  await writeFile(join(dir, 'config.yml'), JSON.stringify(configuration(dir, options.port ?? 0, auth)))
  const child = spawn(BINARY, ['serve', join(dir, 'config.yml')], { stdio: ['ignore', 'pipe', 'pipe'] })
  const log: LoggedRequest[] = []
  onLine(child.stdout, (line) => {
    const [, method, path, status, bytes, userAgent] = ACCESS_LINE.exec(line) ?? []
    if (method !== undefined && path !== undefined && userAgent !== undefined)
      log.push({ method, path, status: Number(status), bytes: Number(bytes), userAgent })
  })
  const port = await listening(child)
  const name = `127.0.0.1:${port}`
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  return {
    url: `http://${name}`,
    name,
    port,
    pid: child.pid as number,
    accessLog: () => log.filter(({ userAgent }) => userAgent !== PUSHER),
    push: (repository, tag, image) => push(`http://${name}`, repository, tag, image, auth),
    stop,
    [Symbol.asyncDispose]: stop,
  }
}

/** Marks the helper's own requests in the access log. */
const PUSHER = 'shoal-test-push'

async function push(url: string, repository: string, tag: string, image: Image, auth: boolean): Promise<void> {
  const basic = Buffer.from(`${REGISTRY_LOGIN.username}:${REGISTRY_LOGIN.password}`).toString('base64')
  const headers = { 'user-agent': PUSHER, ...(auth ? { authorization: `Basic ${basic}` } : {}) }
  const send = async (method: 'POST' | 'PUT', to: string, body?: ImageBlob): Promise<string> => {
    const sized = body === undefined ? {} : { 'content-type': body.mediaType, 'content-length': String(body.size) }
    const response = await request(to, {
      method,
      headers: { ...headers, ...sized },
      body: body === undefined ? null : Readable.from(body.read()),
    })
    const text = await response.body.text()
    if (response.statusCode >= 300) throw new Error(`${method} ${to}: ${response.statusCode} ${text}`)
    return String(response.headers.location ?? '')
  }
  for (const [digest, blob] of image.blobs) {
    const upload = new URL(await send('POST', `${url}/v2/${repository}/blobs/uploads/`))
    upload.searchParams.set('digest', digest)
    await send('PUT', upload.href, { ...blob, mediaType: 'application/octet-stream' })
  }
  await send('PUT', `${url}/v2/${repository}/manifests/${tag}`, image.manifest)
}

function configuration(dir: string, port: number, auth: boolean): unknown {
  return {
    version: '0.1',
    log: { accesslog: { disabled: false }, level: 'info', formatter: 'text' },
    storage: { filesystem: { rootdirectory: join(dir, 'content') }, maintenance: { uploadpurging: { enabled: false } } },
    http: { addr: `127.0.0.1:${port}`, secret: 'test' },
    ...(auth ? { auth: { htpasswd: { realm: 'shoal-test', path: join(dir, 'htpasswd') } } } : {}),
  }
}

async function listening(child: ChildProcess): Promise<number> {
  let said = ''
  const found = new Promise<number>((resolve, reject) => {
    onLine(child.stderr, (line) => {
      said += `${line}\n`
      const port = /listening on 127\.0\.0\.1:(\d+)/.exec(line)?.[1]
      if (port !== undefined) resolve(Number(port))
    })
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`docker-registry ended:\n${said}`)))
    AbortSignal.timeout(START_TIMEOUT_MS).addEventListener('abort', () =>
      reject(new Error(`docker-registry is silent:\n${said}`)),
    )
  })
  return found.catch((error: unknown) => {
    child.kill('SIGKILL')
    throw error
  })
}

function onLine(stream: NodeJS.ReadableStream | null, listener: (line: string) => void): void {
  let rest = ''
  stream?.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) listener(line)
  })
}
