import type { Host } from '../../src/net/host.ts'
import { createIdentity } from '../../src/net/identity.ts'
import { type Libp2pHostOptions, openLibp2pHost } from '../../src/net/libp2p.ts'
import { SILENT } from '../../src/telemetry/log.ts'

export const LOOPBACK = '/ip4/127.0.0.1/tcp/0'

/** A real host on loopback, with everything on. */
export function openTestHost(options: Partial<Libp2pHostOptions> = {}): Promise<Host> {
  return openLibp2pHost({
    identity: createIdentity(),
    listen: [LOOPBACK],
    announce: [],
    bootstrap: [],
    dht: true,
    gossip: true,
    datastorePath: undefined,
    version: '0.0.0-test',
    log: SILENT,
    ...options,
  })
}
