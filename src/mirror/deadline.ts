import { ShoalError } from '../errors.ts'
import { abortable } from './single-flight.ts'

/**
 * Gives upstream work `timeoutMs`; its signal is not aborted later than that, so what it opened lives on.
 * @throws ShoalError ORIGIN_TIMEOUT, or what the work throws
 */
export async function within<T>(
  timeoutMs: number,
  who: string,
  work: (signal: AbortSignal) => Promise<T>,
  options: { signal?: AbortSignal } = {},
): Promise<T> {
  const late = new AbortController()
  const timer = setTimeout(() => {
    late.abort(new ShoalError('ORIGIN_TIMEOUT', `${who} did not answer within ${timeoutMs / 1000} s`))
  }, timeoutMs)
  const signal = options.signal === undefined ? late.signal : AbortSignal.any([options.signal, late.signal])
  try {
    return await abortable(work(signal), signal)
  } finally {
    clearTimeout(timer)
  }
}
