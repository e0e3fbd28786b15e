import { cidOf, type Digest } from '../../protocols/digest.ts'
import type { Clock } from '../clock.ts'
import type { Host, PeerRef, Routing } from '../net/host.ts'
import type { Log } from '../telemetry/log.ts'

/** A hint that comes later is of no use. */
const TIMEOUT_MS = 15_000
/** Servers give every record they have. */
const MAX_PROVIDERS = 64
const MAX_ADDRESSES = 8

export interface ProvidersOptions {
  readonly host: Pick<Host, 'peerId'>
  readonly routing: Routing
  readonly clock: Clock
  readonly log: Log
}

/** Who the DHT says holds a blob, each peer once and never this node; a look-up that fails has no more answers. @throws the signal's reason */
export async function* findProviders(
  digest: Digest,
  { host, routing, clock, log, signal }: ProvidersOptions & { signal: AbortSignal },
): AsyncGenerator<PeerRef, void, undefined> {
  const abort = new AbortController()
  const onAbort = () => abort.abort(signal.reason)
  signal.addEventListener('abort', onAbort, { once: true })
  const cancelTimeout = clock.after(TIMEOUT_MS, () => abort.abort(new Error('the look-up took too long')))
  const seen = new Set([host.peerId])
  try {
    signal.throwIfAborted()
    for await (const { id, addresses } of routing.find(cidOf(digest), { signal: abort.signal })) {
      if (seen.has(id)) continue
      seen.add(id)
      yield { id, addresses: addresses.slice(0, MAX_ADDRESSES) }
      if (seen.size > MAX_PROVIDERS) return
    }
  } catch (error) {
    signal.throwIfAborted()
    log.debug({ digest: String(digest), err: error }, 'a DHT look-up ended early')
  } finally {
    cancelTimeout()
    signal.removeEventListener('abort', onAbort)
    abort.abort()
  }
}
