import { ShoalError } from '../../protocols/error.ts'

/** An I/O error as the disk thread hands it over: errors lose their class on the way between threads. */
export interface IoFailure {
  readonly code: string
  readonly message: string
}

const FULL_CODES = new Set(['ENOSPC', 'EDQUOT'])
/** Level hands on what the C library said. */
const FULL_TEXT = /No space left on device|Disk quota exceeded/
/** What cannot be read is not held: a bad sector, a file cut short or gone. */
const LOST_CODES = new Set(['EIO', 'ENOENT', 'ESTALE', 'ENXIO', 'ESHORT'])

export function isFull(error: unknown): boolean {
  const { code, message, cause } = (error ?? {}) as { code?: unknown; message?: unknown; cause?: unknown }
  if (typeof code === 'string' && FULL_CODES.has(code)) return true
  if (typeof message === 'string' && FULL_TEXT.test(message)) return true
  return cause !== undefined && isFull(cause)
}

/** Whether a read failed because the bytes are not there, rather than because we could not ask. */
export function isLost(error: unknown): boolean {
  return LOST_CODES.has((error as { code?: string } | undefined)?.code ?? '')
}

/** STORE_FULL or STORE_FAILED, as the cause says; our own errors pass. */
export function storeFailure(error: unknown, doing: string): ShoalError {
  if (error instanceof ShoalError) return error
  const message = (error as { message?: string } | undefined)?.message ?? String(error)
  if (isFull(error)) return new ShoalError('STORE_FULL', `no room on the disk: ${doing}`, { cause: error })
  return new ShoalError('STORE_FAILED', `${doing}: ${message}`, { cause: error })
}
