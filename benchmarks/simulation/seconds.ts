import { type Second, secondAsks, type Underway } from '../../src/download/second-asks.ts'
import { sourcesOf } from './choose.ts'
import type { Asked } from './downloading.ts'
import type { Edge } from './edge.ts'
import { MIRRORED } from './mirrored.ts'
import type { Peer } from './peer.ts'
import type { World } from './world.ts'

const { URGENT_PIECES } = MIRRORED

interface Ask {
  readonly edge: Edge
  readonly index: number
  readonly spareBytes: number
}

/** Which pieces one host asks of a second neighbour too. @param landing pieces that have come, and are being written */
export function chooseSeconds(self: Peer, world: World, endgame: boolean, landing: ReadonlyMap<number, number>): Ask[] {
  const { now, geometry } = world
  const { demand, spare } = self.downloading
  const urgent = demand.urgent((index) => self.holdings.held.has(index), URGENT_PIECES)
  const alone = askedOnce(self, landing)
  if (!alone.some(({ edge, request }) => endgame || urgent.includes(request.index) || edge.isStalled(now))) return []
  const underway = alone.flatMap((asked) => underwayOf(asked, now))
  const edges = new Map(sourcesOf(self, geometry.pieceBytes, now).map((edge) => [edge.peerId, edge]))
  const options = { endgame, urgent, spareBytes: spare.room(geometry.pieceBytes) }
  return secondAsks(underway, [...edges.values()].map(asSecond), options).map(({ peerId, index, spareBytes }) => ({
    edge: edges.get(peerId) as Edge,
    index,
    spareBytes,
  }))
}

function askedOnce({ downloading }: Peer, landing: ReadonlyMap<number, number>): Asked[] {
  const asked: Asked[] = []
  for (const [index, [only, ...others]] of downloading.attempts)
    if (only !== undefined && only !== 'origin' && others.length === 0 && !landing.has(index)) asked.push(only)
  return asked
}

function underwayOf({ edge, request, expectedMs }: Asked, now: number): Underway[] {
  const silent = edge.isStalled(now)
  if (!silent && expectedMs === undefined) return []
  const { index, bytes, sentAt } = request
  const receivedBytes = edge.receivedBytes(request)
  return [{ index, from: edge.peerId, lengthBytes: bytes, receivedBytes, elapsedMs: now - sentAt, expectedMs, silent }]
}

function asSecond(edge: Edge): Second {
  const { peerId, roomBytes, outstandingBytes, load } = edge
  return {
    peerId,
    roomBytes,
    outstandingBytes,
    load,
    offers: (index) => edge.have.has(index),
    expectedMs: (bytes) => edge.expectedMs(bytes) ?? edge.patienceMs,
  }
}
