import type { ZoneLabel } from '../../protocols/zone.ts'
import type { Discovery } from '../discovery/discovery.ts'
import type { PeerRef } from '../net/host.ts'
import type { Origin } from '../origin/origin.ts'
import type { RateLimit } from '../rate-limit.ts'
import type { Rendezvous } from '../rendezvous/rendezvous.ts'
import type { Store } from '../store/store.ts'
import type { Log } from '../telemetry/log.ts'
import type { Metrics } from '../telemetry/metrics.ts'
import type { Downlink } from '../transfer/downlink.ts'
import type { Transfer } from '../transfer/transfer.ts'
import type { Accusations } from './accusations.ts'
import type { Bans } from './bans.ts'
import type { Proven } from './proven.ts'
import type { Spare } from './spare.ts'

/** What a download is made of. The parts meet only here. */
export interface Parts {
  readonly peerId: string
  readonly store: Store
  readonly discovery: Discovery
  readonly transfer: Transfer
  readonly origin: Origin
  readonly rendezvous: Rendezvous
  readonly bans: Bans
  readonly accusations: Accusations
  readonly metrics: Metrics
  readonly log: Log
  /** What may come from peers and origins together; `undefined`: as fast as it goes. */
  readonly downloadLimit?: RateLimit | undefined
  /** The operator declared that what this node holds may be seen by anybody who reaches it. */
  readonly shared: boolean
  /** Peers that this node is connected with. */
  readonly connected: () => readonly PeerRef[]
  /** Where this node stands. */
  readonly label: ZoneLabel
  readonly random: () => number
}

/** What all downloads of a node share besides. */
export interface SharedParts extends Parts {
  readonly downlink: Downlink
  readonly spare: Spare
  readonly proven: Proven
}
