import { type Logger, pino } from 'pino'

/** Structured log; keys use the words of the types (`digest`, `peerId`, `index`). Goes to stderr as JSON lines. */
export type Log = Pick<Logger, 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'child'>

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'silent'

export const LOG_LEVELS: readonly LogLevel[] = Object.freeze(['trace', 'debug', 'info', 'warn', 'error', 'silent'])

const REDACTED = ['authorization', 'password', 'token', '*.authorization', '*.password', '*.token', 'headers.authorization']

/** @param level what to print and above; `silent` prints nothing */
export function createLog(level: LogLevel): Log {
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime, redact: REDACTED }, pino.destination(2))
}

export const SILENT: Log = pino({ level: 'silent' })
