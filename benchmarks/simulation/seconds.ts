import { type Second, type SecondAsk, secondAsks, type Underway } from '../../src/download/second-asks.ts'
import { sourcesOf } from './choose.ts'
import type { Asked } from './downloading.ts'
import { MIRRORED } from './mirrored.ts'
import type { Peer } from './peer.ts'
import type { World } from './world.ts'

const { URGENT_PIECES } = MIRRORED

/** Which pieces one host asks of a second neighbour too. @param landing pieces that have come, and are being written */
export function chooseSeconds(self: Peer, world: World, endgame: boolean, landing: ReadonlyMap<number, number>): SecondAsk[] {
  const { now, geometry } = world
  const { demand, spare } = self.downloading
  const alone = askedOnce(self, landing)
  if (alone.length === 0) return []
  const urgent = demand.urgent((index) => self.holdings.held.has(index), URGENT_PIECES)
  const spareBytes = spare.room(geometry.pieceBytes)
  const affordable = spareBytes >= geometry.pieceBytes
  const presses = ({ edge, request }: Asked) => (affordable && (endgame || urgent.includes(request.index))) || edge.isStalled(now)
  if (!alone.some(presses)) return []
  const underway = alone.flatMap((asked) => underwayOf(asked, now))
  return secondAsks(underway, secondsOf(self, now), { endgame, urgent, spareBytes })
}

/** Looked up only once some piece is late enough. */
function secondsOf(self: Peer, now: number): Iterable<Second> {
  let seconds: readonly Second[] | undefined
  return {
    [Symbol.iterator]: () => {
      seconds ??= sourcesOf(self, now)
      return seconds[Symbol.iterator]()
    },
  }
}

function askedOnce({ downloading }: Peer, landing: ReadonlyMap<number, number>): Asked[] {
  const asked: Asked[] = []
  for (const [index, attempts] of downloading.attempts) {
    const [only] = attempts
    if (attempts.length === 1 && only !== undefined && only !== 'origin' && !landing.has(index)) asked.push(only)
  }
  return asked
}

function underwayOf({ edge, request, expectedMs }: Asked, now: number): Underway[] {
  const silent = edge.isStalled(now)
  if (!silent && expectedMs === undefined) return []
  const { index, bytes, sentAt } = request
  const receivedBytes = edge.receivedBytes(request)
  return [{ index, from: edge.peerId, lengthBytes: bytes, receivedBytes, elapsedMs: now - sentAt, expectedMs, silent }]
}
