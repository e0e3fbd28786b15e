import { codeOf, type ErrorCode, type ShoalError } from '../errors.ts'

/** An error as a registry tells it. */
export interface Refusal {
  readonly status: number
  /** Of the distribution spec, "Error Codes". */
  readonly code: string
  readonly message: string
  readonly headers: Readonly<Record<string, string>>
}

/** What was asked for: decides which "unknown" it is. */
export type Subject = 'manifest' | 'blob' | 'name'

const UNKNOWN = { manifest: 'MANIFEST_UNKNOWN', blob: 'BLOB_UNKNOWN', name: 'NAME_UNKNOWN' } as const

/**
 * "I can't" is 404: containerd, docker and podman then go on to the registry at once, whereas docker spends 50 seconds on
 * retries of a 5xx. The message says what it really was.
 */
const CANT = [404, undefined] as const

/** The one table from our codes to the registry's: status, and the OCI code where it is not the subject's "unknown". */
const TABLE: Readonly<Record<ErrorCode, readonly [status: number, code: string | undefined]>> = Object.freeze({
  DIGEST_INVALID: [400, 'DIGEST_INVALID'],
  RANGE_INVALID: [416, 'RANGE_INVALID'],
  REFERENCE_INVALID: [400, 'NAME_INVALID'],
  ADDRESS_INVALID: [400, 'NAME_INVALID'],
  ZONE_INVALID: [400, 'UNSUPPORTED'],
  CONFIG_INVALID: CANT,
  REQUEST_INVALID: [400, 'UNSUPPORTED'],
  PEER_ID_INVALID: [400, 'UNSUPPORTED'],
  PEER_NOT_BANNED: CANT,
  MESSAGE_MALFORMED: CANT,
  MESSAGE_TOO_LARGE: CANT,
  CLAIM_INVALID: CANT,
  PIECE_MISMATCH: CANT,
  PEER_UNREACHABLE: CANT,
  PEER_BUSY: CANT,
  PEER_LACKS_PIECE: CANT,
  PEER_REFUSED: CANT,
  PEER_TIMEOUT: CANT,
  PEER_GONE: CANT,
  ORIGIN_UNREACHABLE: CANT,
  ORIGIN_TIMEOUT: CANT,
  ORIGIN_UNAUTHORIZED: [401, 'UNAUTHORIZED'],
  ORIGIN_FORBIDDEN: [403, 'DENIED'],
  ORIGIN_NOT_FOUND: CANT,
  ORIGIN_RATE_LIMITED: [429, 'TOOMANYREQUESTS'],
  ORIGIN_FAILED: CANT,
  ORIGIN_PROTOCOL: CANT,
  ORIGIN_REDIRECT: CANT,
  BLOB_UNKNOWN: CANT,
  BLOB_TOO_LARGE: [413, 'SIZE_INVALID'],
  DIGEST_MISMATCH: CANT,
  STORE_FULL: CANT,
  STORE_CORRUPT: CANT,
  STORE_LOCKED: CANT,
  STORE_FAILED: CANT,
  ACCESS_DENIED: [403, 'DENIED'],
  CONTROL_UNAUTHORIZED: [403, 'DENIED'],
  DAEMON_UNREACHABLE: CANT,
  NODE_CLOSED: CANT,
} satisfies Record<ErrorCode, readonly [number, string | undefined]>)

/** A manifest that is not what its digest says is the origin's fault, and worth an alarm rather than a detour. */
const WRONG_MANIFEST = [502, 'MANIFEST_INVALID'] as const

/** `overLoopback`: whether the client's own connection is; a password is never asked for over any other plain one. */
export function refusalOf(error: unknown, subject: Subject, overLoopback: boolean): Refusal {
  const known = codeOf(error)
  if (known === undefined) return refusal(500, 'UNKNOWN', 'internal error: see the log of the daemon')
  const { message, detail } = error as ShoalError
  const [status, code] = known === 'DIGEST_MISMATCH' && subject === 'manifest' ? WRONG_MANIFEST : TABLE[known]
  if (status === 401) return challenge(message, detail?.challenge, overLoopback)
  const headers: Record<string, string> = {}
  if (status === 429 && typeof detail?.retryAfterMs === 'number') {
    headers['retry-after'] = String(Math.max(1, Math.ceil(detail.retryAfterMs / 1000)))
  }
  return refusal(status, code ?? UNKNOWN[subject], message, headers)
}

export function refusal(status: number, code: string, message: string, headers: Readonly<Record<string, string>> = {}): Refusal {
  return { status, code, message, headers }
}

/** `{"errors":[…]}` of the distribution spec. */
export function refusalBody({ code, message }: Refusal): Buffer {
  return Buffer.from(JSON.stringify({ errors: [{ code, message }] }))
}

/** Docker and the kubelet answer a Basic challenge with the user's real password, whoever asks. */
function challenge(message: string, given: unknown, overLoopback: boolean): Refusal {
  const value = typeof given === 'string' && given.length <= 4096 && /^[\x20-\x7e]+$/.test(given) ? given : undefined
  if (value !== undefined && /(^|,\s*)basic\s/i.test(value) && !overLoopback) {
    return refusal(403, 'DENIED', 'the registry wants a password, which is not asked for over plain HTTP from another host')
  }
  return refusal(401, 'UNAUTHORIZED', message, value === undefined ? {} : { 'www-authenticate': value })
}
