import { type ErrorCode, ShoalError } from '../../protocols/error.ts'

const DEFAULT_RETRY_AFTER_MS = 2_000
const MAX_RETRY_AFTER_MS = 3_600_000

/** What an origin's status means for us; for statuses that are not the answer asked for. */
export function codeOfStatus(status: number): ErrorCode {
  if (status === 401) return 'ORIGIN_UNAUTHORIZED'
  if (status === 403 || status === 451) return 'ORIGIN_FORBIDDEN'
  if (status === 404 || status === 410) return 'ORIGIN_NOT_FOUND'
  if (status === 429) return 'ORIGIN_RATE_LIMITED'
  return status < 400 || status === 416 ? 'ORIGIN_PROTOCOL' : 'ORIGIN_FAILED'
}

/** `Retry-After` (seconds or an HTTP date) as milliseconds from `now`: a sane time also when it is missing, past or absurd. */
export function parseRetryAfter(header: string | undefined, now: number): number {
  const text = header?.trim() ?? ''
  const milliseconds = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now
  if (!Number.isFinite(milliseconds) || milliseconds <= 0) return DEFAULT_RETRY_AFTER_MS
  return Math.min(milliseconds, MAX_RETRY_AFTER_MS)
}

/** Whom an answer asks to be left alone by: 429 is said to who asked so, 503 with a time to everybody. */
export function pauseScope(status: number, retryAfter: string | undefined): 'asker' | 'everybody' | undefined {
  if (status === 429) return 'asker'
  return status === 503 && retryAfter !== undefined ? 'everybody' : undefined
}

/** The `message` of an OCI error body, shortened to a line; empty when it is anything else. */
export function messageIn(body: string): string {
  try {
    const { errors } = JSON.parse(body) as { errors?: { message?: unknown }[] }
    const message = errors?.[0]?.message
    return typeof message === 'string' ? message.replace(/[^\x20-\x7e]+/g, ' ').slice(0, 200) : ''
  } catch {
    return ''
  }
}

const TIMEOUTS = new Set(['UND_ERR_CONNECT_TIMEOUT', 'UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT', 'ETIMEDOUT'])
const CLOSED = new Set(['UND_ERR_DESTROYED', 'UND_ERR_CLOSED'])
/** A body that ended before its end: the connection was cut, whatever the parser calls it. */
const CUT = new Set(['HPE_INVALID_EOF_STATE', 'HPE_CLOSED_CONNECTION', 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH'])

/** A failure of the connection as one of our codes. @param where the host or URL, as it may be shown */
export function transportFailure(cause: unknown, where: string): ShoalError {
  const ours = [cause, (cause as { cause?: unknown } | undefined)?.cause].find((error) => error instanceof ShoalError)
  if (ours !== undefined) return ours as ShoalError
  const { code = '', message = '', name = '' } = cause as { code?: string; message?: string; name?: string }
  const fail = (ours: ErrorCode, what: string) =>
    new ShoalError(ours, `${where} ${what}`, { cause, detail: { reason: code === '' ? message : code } })
  if (TIMEOUTS.has(code)) return fail('ORIGIN_TIMEOUT', 'made no progress in time')
  if (CLOSED.has(code)) return new ShoalError('NODE_CLOSED', 'the node is stopping', { cause })
  const broken = name === 'HTTPParserError' || code === 'UND_ERR_HEADERS_OVERFLOW'
  if (broken && !CUT.has(code)) return fail('ORIGIN_PROTOCOL', 'does not speak HTTP as it should')
  return fail('ORIGIN_UNREACHABLE', `could not be reached or cut the connection (${code === '' ? message : code})`)
}

/** Whether a request may have met a connection that the server had just closed: worth one more try at once. */
export function isStaleConnection(cause: unknown): boolean {
  const { code } = cause as { code?: string }
  return code === 'ECONNRESET' || code === 'EPIPE' || code === 'UND_ERR_SOCKET'
}
