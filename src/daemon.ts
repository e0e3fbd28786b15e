import type { Config } from './config.ts'
import { type Control, openControl } from './control/server.ts'
import { type Mirror, openMirror } from './mirror/mirror.ts'
import { type NodeStatus, openNodeParts, type ShoalNode } from './node.ts'
import type { Log } from './telemetry/log.ts'

/** A node with its listeners. */
export interface Daemon extends AsyncDisposable {
  readonly node: ShoalNode
  readonly mirror: Mirror | undefined
  readonly control: Control | undefined
  /** The node's, with what its listeners bound. */
  status(): Promise<NodeStatus>
  /** The listeners first, then the node; what is running is cut. */
  close(): Promise<void>
}
