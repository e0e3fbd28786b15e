import { Bitfield } from '../../protocols/bitfield.ts'
import type { NeighbourState } from './transfer.ts'

/** Who has been a neighbour for so long and holds nothing gives way to a newcomer. */
const GRACE_MS = 2_000
/** One network has so much of the places at most, where others want them. */
const SHARE_OF_ONE_NETWORK = 1 / 4

/** A neighbour, as far as its place is concerned. */
export interface Placed {
  readonly state: NeighbourState
  /** Since when it has been a neighbour. */
  readonly since: number
  readonly network: string
  readonly have: Bitfield | undefined
}

/** How many places there are, and the time. */
export interface Places {
  readonly maxNeighbours: number
  readonly now: number
}

/**
 * Who gives way to a newcomer of that network where all places are taken: one that holds nothing, or one of a network that has many
 * places to one of a network that has few.
 * @param members in the order in which they were taken in
 */
export function displacedBy<T extends Placed>(
  network: string,
  members: readonly T[],
  { maxNeighbours, now }: Places,
): T | undefined {
  const share = maxNeighbours * SHARE_OF_ONE_NETWORK
  const byNetwork = Map.groupBy(members, (member) => member.network)
  const ofItsOwn = byNetwork.get(network)?.length ?? 0
  if (ofItsOwn >= share && byNetwork.size > 1) return undefined
  const empty = members.find(({ state, since }) => state === 'none' && since < now - GRACE_MS)
  if (empty !== undefined || ofItsOwn >= share) return empty
  const crowd = [...byNetwork.values()].find((places) => places.length > share)
  return crowd?.findLast((member) => !isOnlySource(member, members))
}

/** It holds something that no other neighbour does. */
function isOnlySource(member: Placed, members: readonly Placed[]): boolean {
  const { have } = member
  if (have === undefined) return false
  const others = new Bitfield(have.length)
  for (const other of members) if (other !== member && other.have?.length === have.length) others.addAll(other.have)
  const before = others.count
  others.addAll(have)
  return others.count > before
}
