import type { Log } from '../telemetry/log.ts'
import type { Channel } from './channel.ts'

/** How long a peer may take to read our last bytes and close its side, before the stream is reset. */
const LINGER_MS = 10_000

/** Runs a protocol's server on a stream, and sees to it that the stream ends when the server does. */
export async function serveStream(
  channel: Channel & { discard(): void },
  serve: (channel: Channel) => Promise<void>,
  log: Log,
  lingerMs: number = LINGER_MS,
): Promise<void> {
  try {
    await serve(channel)
  } catch (error) {
    log.debug({ peerId: channel.peerId, protocol: channel.protocol, err: error }, 'a stream ended with an error')
    channel.abort(error instanceof Error ? error : new Error('serving failed', { cause: error }))
    return
  }
  if (channel.closed.aborted) return
  // libp2p frees a stream only when both sides have closed it, and a peer may never do so.
  const timer = setTimeout(() => channel.abort(new Error('the peer did not close the stream')), lingerMs).unref()
  channel.closed.addEventListener('abort', () => clearTimeout(timer), { once: true })
  channel.discard()
  await channel.close()
}
