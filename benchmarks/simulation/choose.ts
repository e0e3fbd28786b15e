import { type Pick, pickPieces } from '../../src/transfer/pick.ts'
import type { Rival } from '../../src/transfer/turns.ts'
import type { Edge } from './edge.ts'
import { MIRRORED } from './mirrored.ts'
import type { Peer } from './peer.ts'
import type { World } from './world.ts'

const { URGENT_PIECES } = MIRRORED

export interface Choice {
  readonly picks: readonly Pick[]
  /** Whether more would be asked for, were there something. */
  readonly room: boolean
  /** How many pieces are neither held nor on their way then. */
  readonly left: number
}

/** Which pieces one host asks of which neighbours now. */
export function choose(self: Peer, { geometry, now, random }: World): Choice {
  const { attempts, demand, downlink, taken } = self.downloading
  const { pieceBytes } = geometry
  const left = downlink.roomBytes(pieceBytes, self.downloading.delayMs)
  // one piece at a time moves whatever others take of the room
  const roomBytes = attempts.size === 0 ? Math.max(left, pieceBytes) : left
  if (roomBytes < pieceBytes) return { picks: [], room: false, left: Number.POSITIVE_INFINITY }
  const missing = demand.missing(taken)
  const offered = missing.filter((index) => self.downloading.cover.has(index))
  const sources = offered.length === 0 ? [] : sourcesOf(self, now)
  if (sources.length === 0) return { picks: [], room: true, left: missing.length }
  const want = { missing: offered, urgent: demand.urgent(taken, URGENT_PIECES), pieceBytes, roomBytes }
  let picks = pickPieces({ ...want, turns: { self: self.seed, rivals: rivalsOf(self) } }, sources, random)
  // who has nothing on its way asks for one out of turn: those before it may want none
  if (picks.length === 0 && !self.downloading.busy) picks = pickPieces({ ...want, roomBytes: pieceBytes }, sources, random)
  return { picks, room: roomBytes >= (picks.length + 1) * pieceBytes, left: missing.length - picks.length }
}

/** Whom it can ask now. */
export function sourcesOf(self: Peer, now: number): Edge[] {
  const sources: Edge[] = []
  for (const edge of self.neighbours.list) if (edge.useful && edge.busyUntil <= now && !edge.isStalled(now)) sources.push(edge)
  return sources
}

/** Who else may want what this host lacks. */
function rivalsOf(self: Peer): Rival[] {
  return self.neighbours.list.filter(({ state }) => state === 'asked' || state === 'none' || state === 'partial')
}
