import { createHash } from 'node:crypto'
import type { Libp2p } from '@libp2p/interface'
import { CID } from 'multiformats/cid'
import { create as createMultihash } from 'multiformats/hashes/digest'
import type { Log } from '../telemetry/log.ts'
import type { Routing } from './host.ts'

const SHA2_256 = 0x12

/**
 * Content routing by kad-dht. A server fails the whole answer when it no longer knows one provider's addresses, so
 * what a query brings before it fails is given, and its failure is only logged.
 */
export function createRouting(node: Libp2p, log: Log): Routing {
  const self = node.peerId.toString()
  return {
    provide: (cid, { signal }) => node.contentRouting.provide(dhtKey(cid), { signal }),
    cancel: (cid) => node.contentRouting.cancelReprovide(dhtKey(cid)),
    async *find(cid, { signal }) {
      try {
        for await (const { id, multiaddrs } of node.contentRouting.findProviders(dhtKey(cid), { signal })) {
          if (id.toString() === self) continue
          yield { id: id.toString(), addresses: [...new Set(multiaddrs.map(String))] }
        }
      } catch (error) {
        signal.throwIfAborted()
        log.debug({ cid: cid.toString(), err: error }, 'a provider query ended early')
      }
    },
  }
}

/** kad-dht reads the multihash that it is sent as a CIDv0, so any other hash than SHA-256 is hashed once more. */
export function dhtKey(cid: CID): CID {
  if (cid.multihash.code === SHA2_256) return cid
  const hash = createHash('sha256').update(cid.multihash.bytes).digest()
  return CID.createV1(cid.code, createMultihash(SHA2_256, hash))
}
