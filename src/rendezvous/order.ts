import { hash } from 'node:crypto'
import type { Digest } from '../../protocols/digest.ts'

/** Hex digits of a weight that a desk's order begins with, later than that of the desk before it. */
const DESK_DIGITS = 8

/**
 * Peers in the order in which they are to be the rendezvous of a blob at one of its desks: highest random weight first, so that who
 * joins or leaves moves only what is its own. protocols/rendezvous/SPEC.md, "Who it is".
 */
export function rendezvousOrder(digest: Digest, peerIds: Iterable<string>, desk = 0): string[] {
  const weighed = [...new Set(peerIds)].map((id) => ({ id, weight: weightAt(desk, digest, id) }))
  return weighed.sort(before).map(({ id }) => id)
}

/** The first few of `rendezvousOrder`, without sorting all of a large zone. */
export function firstInOrder(digest: Digest, peerIds: Iterable<string>, count: number, desk = 0): string[] {
  const first: Weighed[] = []
  for (const id of peerIds) {
    const one = { id, weight: weightAt(desk, digest, id) }
    let at = first.length
    while (at > 0 && before(one, first[at - 1] as Weighed) < 0) at--
    if (at >= count || first.some((other) => other.id === id)) continue
    first.splice(at, 0, one)
    first.length = Math.min(first.length, count)
  }
  return first.map(({ id }) => id)
}

/** The rendezvous and its standby. */
export function firstTwo(digest: Digest, peerIds: Iterable<string>, desk = 0): string[] {
  return firstInOrder(digest, peerIds, 2, desk)
}

interface Weighed {
  readonly id: string
  readonly weight: string
}

/** In hex, because text of one length compares as its bytes do. */
export function weightOf(digest: Digest, peerId: string): string {
  return hash('sha256', `${digest} ${peerId}`, 'hex')
}

function weightAt(desk: number, digest: Digest, peerId: string): string {
  const weight = weightOf(digest, peerId)
  return desk === 0 ? weight : weight.slice(DESK_DIGITS * desk) + weight.slice(0, DESK_DIGITS * desk)
}

/** Two peers never weigh the same, but an order must be one. */
function before(a: Weighed, b: Weighed): number {
  if (a.weight !== b.weight) return a.weight > b.weight ? -1 : 1
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0
}
