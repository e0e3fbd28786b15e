/**
 * Every way shoal says no. The code is the API: branch on it, never on the message. What each means, its HTTP
 * status and what to do about it is the table in docs of `src/errors.ts`.
 */
export type ErrorCode =
  // what a caller, client or operator gave us
  | 'DIGEST_INVALID'
  | 'PEER_ID_INVALID'
  | 'RANGE_INVALID'
  | 'REFERENCE_INVALID'
  | 'ADDRESS_INVALID'
  | 'ZONE_INVALID'
  | 'CONFIG_INVALID'
  | 'REQUEST_INVALID'
  // what a peer sent
  | 'MESSAGE_MALFORMED'
  | 'MESSAGE_TOO_LARGE'
  | 'CLAIM_INVALID'
  | 'PIECE_MISMATCH'
  | 'PEER_UNREACHABLE'
  | 'PEER_BUSY'
  | 'PEER_LACKS_PIECE'
  | 'PEER_REFUSED'
  | 'PEER_TIMEOUT'
  | 'PEER_GONE'
  // what the origin did
  | 'ORIGIN_UNREACHABLE'
  | 'ORIGIN_TIMEOUT'
  | 'ORIGIN_UNAUTHORIZED'
  | 'ORIGIN_FORBIDDEN'
  | 'ORIGIN_NOT_FOUND'
  | 'ORIGIN_RATE_LIMITED'
  | 'ORIGIN_FAILED'
  | 'ORIGIN_PROTOCOL'
  | 'ORIGIN_REDIRECT'
  // the blob
  | 'BLOB_UNKNOWN'
  | 'BLOB_TOO_LARGE'
  | 'DIGEST_MISMATCH'
  // this node
  | 'STORE_FULL'
  | 'STORE_CORRUPT'
  | 'STORE_LOCKED'
  | 'STORE_FAILED'
  | 'PEER_NOT_BANNED'
  | 'ACCESS_DENIED'
  | 'CONTROL_UNAUTHORIZED'
  | 'DAEMON_UNREACHABLE'
  | 'NODE_CLOSED'

/** The one error class. `cause` keeps what led to it; `detail` carries values worth logging (never secrets). */
export class ShoalError extends Error {
  readonly code: ErrorCode
  readonly detail: Readonly<Record<string, unknown>> | undefined

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; detail?: Record<string, unknown> } = {}) {
    super(message, options.cause === undefined ? {} : { cause: options.cause })
    this.name = 'ShoalError'
    this.code = code
    this.detail = options.detail
  }
}

/** The code of an error, if it is one of ours. */
export function codeOf(error: unknown): ErrorCode | undefined {
  return error instanceof ShoalError ? error.code : undefined
}
