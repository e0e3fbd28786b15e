import { setImmediate as turn } from 'node:timers/promises'
import type { Digest } from '../../protocols/digest.ts'
import { ShoalError } from '../../src/errors.ts'
import type { Origin, OriginBody, OriginSource } from '../../src/origin/origin.ts'

/** What an origin serves, and what is wrong with it. */
export interface OriginScript {
  readonly bytes: Uint8Array
  /** What it says the size is; `undefined` when it does not say. Default: the truth. */
  readonly size?: number | undefined
  /** `false`: every request is answered from byte 0. */
  readonly ranges?: boolean
  /** Each request is cut after so many bytes. */
  readonly cutAfterBytes?: number
  /** The nth request (from 0) is refused with this. */
  readonly refuse?: (nth: number) => ShoalError | undefined
  /** Whether the client's own credentials were needed. */
  readonly usedAuthorization?: boolean
  readonly mediaType?: string
  /** What it sends passes here first. */
  readonly tap?: Tap
}

export interface ScriptedOrigin extends Origin {
  script: OriginScript | undefined
  /** Each request, oldest first. */
  readonly opens: readonly { readonly digest: string; readonly start: number; readonly end: number | undefined }[]
  /** Bodies neither read to the end nor cancelled. */
  readonly openBodies: number
  readonly sentBytes: number
}

export const BLOB_SOURCE: OriginSource = Object.freeze({
  type: 'registry',
  registry: 'reg.test',
  repository: 'team/app',
  kind: 'blob',
})

const CHUNK_BYTES = 64 * 1024

/** An origin in memory that does as its script says, and remembers what was asked of it. */
export function createScriptedOrigin(script?: OriginScript): ScriptedOrigin {
  const opens: { digest: string; start: number; end: number | undefined }[] = []
  const bodies = new Set<object>()
  let sentBytes = 0
  const origin: ScriptedOrigin = {
    script,
    opens,
    get openBodies() {
      return bodies.size
    },
    get sentBytes() {
      return sentBytes
    },
    open: async (_source: OriginSource, digest: Digest, { start, end }, { signal }): Promise<OriginBody> => {
      const nth = opens.push({ digest: String(digest), start, end }) - 1
      const { script } = origin
      await turn()
      signal.throwIfAborted()
      if (script === undefined) throw new ShoalError('ORIGIN_NOT_FOUND', 'nothing here')
      const refusal = script.refuse?.(nth)
      if (refusal !== undefined) throw refusal
      const from = script.ranges === false ? 0 : start
      const to = script.ranges === false ? undefined : end
      const stop = new AbortController()
      const token = {}
      bodies.add(token)
      return {
        size: 'size' in script ? script.size : script.bytes.length,
        start: from,
        ranged: script.ranges !== false && (start > 0 || end !== undefined),
        mediaType: script.mediaType,
        usedAuthorization: script.usedAuthorization ?? false,
        body: send(script, from, to, AbortSignal.any([signal, stop.signal]), {
          sent: (bytes) => {
            sentBytes += bytes
          },
          over: () => bodies.delete(token),
        }),
        cancel: () => {
          stop.abort(new ShoalError('ORIGIN_UNREACHABLE', 'cancelled'))
          bodies.delete(token)
        },
      }
    },
    challenge: async () => undefined,
    resolveTag: async () => {
      throw new ShoalError('ORIGIN_NOT_FOUND', 'no tags here')
    },
    permits: async () => true,
    relay: async () => {
      throw new ShoalError('ORIGIN_NOT_FOUND', 'nothing to relay')
    },
    [Symbol.asyncDispose]: async () => {},
  }
  return origin
}

/** The body of one answer; like the real origin it says so when the length is not what was said. */
async function* send(
  script: OriginScript,
  start: number,
  end: number | undefined,
  signal: AbortSignal,
  on: { sent(bytes: number): void; over(): void },
): AsyncGenerator<Uint8Array> {
  const { bytes, cutAfterBytes = Number.POSITIVE_INFINITY, tap } = script
  const said = 'size' in script ? script.size : bytes.length
  const stop = Math.min(end ?? Number.POSITIVE_INFINITY, said ?? bytes.length)
  try {
    for (let at = start; at < Math.min(stop, bytes.length); ) {
      const cut = start + cutAfterBytes
      if (at >= cut) throw new ShoalError('ORIGIN_UNREACHABLE', `cut at byte ${at}`)
      const allowed = tap === undefined ? Number.POSITIVE_INFINITY : await tap.passes(at, signal)
      const chunk = bytes.subarray(at, Math.min(at + CHUNK_BYTES, stop, cut, allowed))
      signal.throwIfAborted()
      on.sent(chunk.length)
      yield Uint8Array.from(chunk)
      at += chunk.length
    }
    if (stop > bytes.length) throw new ShoalError('ORIGIN_PROTOCOL', `ended at byte ${bytes.length} of ${said}`)
  } finally {
    on.over()
  }
}

/** Lets bytes through up to where it is opened. */
export class Tap {
  #upTo = 0
  #opened = Promise.withResolvers<void>()

  /** From now on, everything before this offset passes. */
  open(upTo = Number.POSITIVE_INFINITY): void {
    this.#upTo = upTo
    this.#opened.resolve()
    this.#opened = Promise.withResolvers()
  }

  /** Resolves when something from this offset on may pass. @returns up to where */
  async passes(at: number, signal: AbortSignal): Promise<number> {
    const aborted = Promise.withResolvers<never>()
    const abort = () => aborted.reject(signal.reason)
    if (signal.aborted) throw signal.reason
    signal.addEventListener('abort', abort, { once: true })
    try {
      while (at >= this.#upTo) await Promise.race([this.#opened.promise, aborted.promise])
      return this.#upTo
    } finally {
      signal.removeEventListener('abort', abort)
    }
  }
}
