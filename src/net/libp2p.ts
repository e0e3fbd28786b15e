import { ShoalError } from '../errors.ts'
import type { Log } from '../telemetry/log.ts'
import { parseBootstrap } from './addresses.ts'
import { createGater } from './gater.ts'
import type { Host } from './host.ts'
import type { Identity } from './identity.ts'
import { Libp2pHost } from './libp2p-host.ts'
import { createNode } from './libp2p-node.ts'
import { PeerDatastore } from './peer-datastore.ts'
import { keepConnected } from './redial.ts'

export interface Libp2pHostOptions {
  readonly identity: Identity
  /** Multiaddrs, for example `/ip4/0.0.0.0/tcp/7402`; port 0 takes a free one. */
  readonly listen: readonly string[]
  /** What peers are told instead of what is listened on, where that differs; empty otherwise. */
  readonly announce: readonly string[]
  /** Peers to stay connected to: multiaddrs that end in `/p2p/<id>`. */
  readonly bootstrap: readonly string[]
  readonly dht: boolean
  readonly gossip: boolean
  /** Directory for what libp2p remembers (peers, provider records); in memory without one. */
  readonly datastorePath: string | undefined
  readonly version: string
  readonly log: Log
  readonly maxConnections?: number
}

/**
 * A host on the network, listening when it is returned.
 * @throws ShoalError ADDRESS_INVALID for an address that is malformed or cannot be listened on, STORE_FAILED
 */
export async function openLibp2pHost(options: Libp2pHostOptions): Promise<Host> {
  const bootstrap = parseBootstrap(options.bootstrap)
  const gater = createGater()
  await using opened = new AsyncDisposableStack()
  const datastore = await openDatastore(options.datastorePath, options.log)
  if (datastore !== undefined) opened.defer(() => datastore.close())
  const node = await createNode(options, gater, datastore)
  opened.defer(() => node.stop())
  try {
    await node.start()
  } catch (cause) {
    throw new ShoalError('ADDRESS_INVALID', `cannot listen on ${options.listen.join(', ')}`, { cause })
  }
  // libp2p does this a second later, and until then leaves this node out of what it answers about providers.
  await node.peerStore.patch(node.peerId, { multiaddrs: node.getMultiaddrs() })
  const host = new Libp2pHost(node, { identity: options.identity, gater, log: options.log })
  opened.use(keepConnected(host, bootstrap, options.log))
  host.own(opened.move())
  return host
}

async function openDatastore(path: string | undefined, log: Log): Promise<PeerDatastore | undefined> {
  if (path === undefined) return undefined
  const datastore = new PeerDatastore(path, log)
  try {
    await datastore.open()
  } catch (cause) {
    throw new ShoalError('STORE_FAILED', `the peer database ${path} cannot be opened`, { cause })
  }
  return datastore
}
