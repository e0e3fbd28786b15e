/** A request that an origin has answered. */
export interface OriginRequest {
  readonly method: string
  readonly path: string
  readonly status: number
  /** Of the body, as sent. */
  readonly bytes: number
}

/** docker-registry's access log is Apache's "combined". */
const LINE = /"(\S+) (\S+) HTTP\/[\d.]+" (\d{3}) (\d+) "/

export function parseAccessLine(line: string): OriginRequest | undefined {
  const [, method, path, status, bytes] = LINE.exec(line) ?? []
  if (method === undefined || path === undefined) return undefined
  return { method, path, status: Number(status), bytes: Number(bytes) }
}

/** Bytes of bodies of blobs. */
export function blobBytes(requests: readonly OriginRequest[]): number {
  return requests.reduce((sum, { method, path, bytes }) => sum + (method === 'GET' && path.includes('/blobs/') ? bytes : 0), 0)
}
