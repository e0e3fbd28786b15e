/** A small, honest, read-only OCI registry for the demo and the tests: what it serves is made by `image.ts`. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { contentRange, parseRange } from '../../protocols/http-range.ts'
import type { Image, ImageBlob } from './image.ts'

/** One request; `status` and `bytes` fill in as it is answered. */
export interface RegistryRequest {
  readonly method: string
  /** With the query. */
  readonly path: string
  readonly range: string | undefined
  /** Whether there was an `Authorization` header. */
  readonly authorization: boolean
  /** 0 until answered. */
  status: number
  /** Bytes of the body handed to the connection. */
  bytes: number
}

/** What the registry is about to answer. */
export interface RegistryAnswer {
  status: number
  headers: Record<string, string | number>
  body: Iterable<Uint8Array> | AsyncIterable<Uint8Array>
}

export interface RegistryExchange {
  readonly request: IncomingMessage
  readonly response: ServerResponse
  readonly answer: RegistryAnswer
  /** The body as it would be without a `Range`. */
  whole(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>
  readonly entry: RegistryRequest
}

export interface RegistryOptions {
  readonly host?: string
  /** 0, the default, picks a free one. */
  readonly port?: number
  /** Called as a request arrives. */
  readonly onRequest?: (request: RegistryRequest) => void
  /** Sends the answer, or something else: how tests make faults. */
  readonly send?: (exchange: RegistryExchange) => Promise<void>
}

export interface Registry extends AsyncDisposable {
  readonly url: string
  readonly port: number
  /** Every request so far, oldest first. */
  readonly requests: readonly RegistryRequest[]
  /** Body bytes sent for blobs (not manifests). */
  readonly blobBytes: number
  addImage(repository: string, tag: string, image: Image): void
  addBlob(repository: string, blob: ImageBlob): void
  /** Cuts all connections and stops listening. */
  close(): Promise<void>
}

interface Repository {
  readonly tags: Map<string, ImageBlob>
  readonly manifests: Map<string, ImageBlob>
  readonly blobs: Map<string, ImageBlob>
}

const CONTENT_PATH = /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/([^/]+)$/

export async function openRegistry(options: RegistryOptions = {}): Promise<Registry> {
  const repositories = new Map<string, Repository>()
  const requests: RegistryRequest[] = []
  const send = options.send ?? sendAnswer

  const server = createServer((request, response) => {
    const entry: RegistryRequest = {
      method: request.method ?? 'GET',
      path: request.url ?? '/',
      range: request.headers.range,
      authorization: request.headers.authorization !== undefined,
      status: 0,
      bytes: 0,
    }
    requests.push(entry)
    options.onRequest?.(entry)
    const answer = answerFor(repositories, entry)
    const whole = () => answerFor(repositories, { ...entry, range: undefined }).body
    // A client that goes away in the middle is an everyday event.
    send({ request, response, answer, whole, entry }).catch(() => response.destroy())
  })
  server.keepAliveTimeout = 120_000
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(options.port ?? 0, options.host ?? '127.0.0.1', resolve)
  })

  const repository = (name: string): Repository => {
    const known = repositories.get(name) ?? { tags: new Map(), manifests: new Map(), blobs: new Map() }
    repositories.set(name, known)
    return known
  }
  const close = async (): Promise<void> => {
    if (!server.listening) return
    const closed = new Promise((resolve) => server.once('close', resolve))
    server.close()
    server.closeAllConnections()
    await closed
  }
  const { port } = server.address() as AddressInfo
  return {
    url: `http://${options.host ?? '127.0.0.1'}:${port}`,
    port,
    requests,
    get blobBytes() {
      return requests.reduce((sum, { path, bytes }) => (path.includes('/blobs/') ? sum + bytes : sum), 0)
    },
    addImage(name, tag, image) {
      const { tags, manifests, blobs } = repository(name)
      tags.set(tag, image.manifest)
      manifests.set(String(image.manifest.digest), image.manifest)
      for (const [digest, blob] of image.blobs) blobs.set(digest, blob)
    },
    addBlob(name, blob) {
      repository(name).blobs.set(String(blob.digest), blob)
    },
    close,
    [Symbol.asyncDispose]: close,
  }
}

/** Sends an answer as it stands, no faster than the client reads. */
export async function sendAnswer({ request, response, answer, entry }: RegistryExchange): Promise<void> {
  entry.status = answer.status
  response.writeHead(answer.status, answer.headers)
  if (request.method === 'HEAD') return void response.end()
  const counted = async function* () {
    for await (const chunk of answer.body) {
      yield chunk
      entry.bytes += chunk.length
    }
  }
  await pipeline(Readable.from(counted(), { objectMode: true, highWaterMark: 1 }), response)
}

function answerFor(repositories: ReadonlyMap<string, Repository>, entry: RegistryRequest): RegistryAnswer {
  const { method, path, range } = entry
  if (method !== 'GET' && method !== 'HEAD') return problem(405, 'UNSUPPORTED', 'read only')
  const { pathname } = new URL(path, 'http://registry')
  if (pathname === '/v2/' || pathname === '/v2') return json({})
  const [, name = '', kind, reference = ''] = CONTENT_PATH.exec(pathname) ?? []
  const repository = repositories.get(name)
  if (repository === undefined) return problem(404, 'NAME_UNKNOWN', 'no such repository')
  if (kind === 'tags') return json({ name, tags: [...repository.tags.keys()].sort() })
  if (kind === 'referrers')
    return json(
      { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json', manifests: [] },
      'application/vnd.oci.image.index.v1+json',
    )
  const { tags, manifests, blobs } = repository
  if (kind === 'blobs') return content(blobs.get(reference), range, 'BLOB_UNKNOWN')
  return content(tags.get(reference) ?? manifests.get(reference), undefined, 'MANIFEST_UNKNOWN')
}

function content(blob: ImageBlob | undefined, rangeHeader: string | undefined, unknown: string): RegistryAnswer {
  if (blob === undefined) return problem(404, unknown, 'not here')
  const isManifest = unknown === 'MANIFEST_UNKNOWN'
  const headers = {
    'Content-Type': isManifest ? blob.mediaType : 'application/octet-stream',
    'Docker-Content-Digest': String(blob.digest),
    'Docker-Distribution-Api-Version': 'registry/2.0',
    ETag: `"${blob.digest}"`,
    ...(isManifest ? {} : { 'Accept-Ranges': 'bytes' }),
  }
  const range = parseRange(rangeHeader, blob.size)
  if (range === 'unsatisfiable')
    return { status: 416, headers: { 'Content-Range': contentRange(undefined, blob.size), 'Content-Length': 0 }, body: [] }
  if (range === undefined) return { status: 200, headers: { ...headers, 'Content-Length': blob.size }, body: blob.read() }
  return {
    status: 206,
    headers: { ...headers, 'Content-Length': range.end - range.start, 'Content-Range': contentRange(range, blob.size) },
    body: blob.read(range.start, range.end),
  }
}

function problem(status: number, code: string, message: string): RegistryAnswer {
  return { ...json({ errors: [{ code, message }] }), status }
}

function json(value: unknown, type = 'application/json'): RegistryAnswer {
  const bytes = Buffer.from(JSON.stringify(value))
  return { status: 200, headers: { 'Content-Type': type, 'Content-Length': bytes.length }, body: [bytes] }
}
