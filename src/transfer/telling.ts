import type { TransferLimits } from './limits.ts'

const MS_PER_SUBSCRIBER = 25

export interface News {
  /** Nobody else is known to hold it: everybody waits for it. */
  readonly first: boolean
  /** How many are to be told. */
  readonly subscribers: number
  /** How long ago they were last told something. */
  readonly toldMs: number
}

/**
 * How long to gather news of what this node holds before others are told. The more peers there are to be told, the less often: the cost
 * is theirs and ours for each message, and a crowd can wait a little for what others hold too.
 */
export function gatherMs({ first, subscribers, toldMs }: News, limits: Pick<TransferLimits, 'haveMs' | 'maxHaveMs'>): number {
  const { haveMs, maxHaveMs } = limits
  if (first) return haveMs
  const everyMs = Math.min(maxHaveMs, Math.max(haveMs, MS_PER_SUBSCRIBER * subscribers))
  return Math.max(haveMs, everyMs - toldMs)
}
