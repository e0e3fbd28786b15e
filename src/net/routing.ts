import type { Libp2p } from '@libp2p/interface'
import type { Log } from '../telemetry/log.ts'
import type { Routing } from './host.ts'

/**
 * Content routing by kad-dht. A server fails the whole answer when it no longer knows one provider's addresses, so
 * what a query brings before it fails is given, and its failure is only logged.
 */
export function createRouting(node: Libp2p, log: Log): Routing {
  const self = node.peerId.toString()
  return {
    provide: (cid, { signal }) => node.contentRouting.provide(cid, { signal }),
    cancel: (cid) => node.contentRouting.cancelReprovide(cid),
    async *find(cid, { signal }) {
      try {
        for await (const { id, multiaddrs } of node.contentRouting.findProviders(cid, { signal })) {
          if (id.toString() === self) continue
          yield { id: id.toString(), addresses: multiaddrs.map((address) => address.toString()) }
        }
      } catch (error) {
        signal.throwIfAborted()
        log.debug({ cid: cid.toString(), err: error }, 'a provider query ended early')
      }
    },
  }
}
