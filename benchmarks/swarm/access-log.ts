/** A request that an origin has answered. */
export interface OriginRequest {
  /** The client's address, where the log has it. */
  readonly from?: string
  /** When it was over: milliseconds since the epoch. */
  readonly at?: number
  readonly method: string
  readonly path: string
  readonly status: number
  /** Of the body, as sent. */
  readonly bytes: number
}

/** docker-registry's access log is Apache's "combined". */
const LINE = /^(\S+) .*?"(\S+) (\S+) HTTP\/[\d.]+" (\d{3}) (\d+) "/

export function parseAccessLine(line: string): OriginRequest | undefined {
  const [, from, method, path, status, bytes] = LINE.exec(line) ?? []
  if (from === undefined || method === undefined || path === undefined) return undefined
  return { from, method, path, status: Number(status), bytes: Number(bytes) }
}

/** Bytes of bodies of blobs. */
export function blobBytes(requests: readonly OriginRequest[]): number {
  return requests.reduce((sum, { method, path, bytes }) => sum + (method === 'GET' && path.includes('/blobs/') ? bytes : 0), 0)
}
