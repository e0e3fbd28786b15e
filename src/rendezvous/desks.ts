import type { Digest } from '../../protocols/digest.ts'
import { MAX_DESKS } from '../../protocols/rendezvous/limits.ts'
import { weightOf } from './order.ts'

/** The desk that grants leases; the others introduce. */
export const LEASES = 0
/** Nodes of a zone that one desk is enough for. */
const NODES = 256

/** How many desks a blob has in a zone of so many nodes: powers of two, so that views that differ a little agree. */
export function desksIn(nodes: number): number {
  let desks = 1
  while (desks < MAX_DESKS && nodes > desks * NODES) desks *= 2
  return desks
}

/** Of so many desks, the one that a node turns to: one or the other half of them when there are twice as many. */
export function deskOf(digest: Digest, peerId: string, desks: number): number {
  return Number.parseInt(weightOf(digest, peerId).slice(-2), 16) % desks
}

/** Of so many other nodes in one's zone, how many turn to the same desk. */
export function nodesAtDesk(others: number): number {
  return others / desksIn(others + 1)
}
