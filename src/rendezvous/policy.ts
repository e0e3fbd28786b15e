import { type Geometry, MIN_PIECE_BYTES } from '../../protocols/pieces.ts'
import { MAX_MEMBERS } from '../../protocols/rendezvous/limits.ts'
import { nodesAtDesk } from './desks.ts'

const MiB = 1024 * 1024

/**
 * What an importer asks the origin for while nobody in the zone knows the blob's size: the first piece, so that it is there soon and
 * others begin with the next.
 */
export const OPEN_BYTES = MIN_PIECE_BYTES

/** The last piece of that, as long as the pieces may be the smallest. */
export const OPEN_LAST = OPEN_BYTES / MIN_PIECE_BYTES - 1

/** What is left of an open lease once the size is known: the pieces that begin in what was asked for. */
export function openPieces({ pieces, pieceBytes }: Geometry): number {
  return Math.min(pieces, Math.ceil(OPEN_BYTES / pieceBytes))
}

/**
 * Pieces of one lease: short, so that many hosts import at once and little is lost with one of them, but long enough for the
 * origin's answer to be worth its round trip: two of the smallest, where there are enough for everybody, for a member that has imported
 * before. One that has not may be slow, and what only it holds would leave it as slowly.
 */
export function leasePieces({ size, pieceBytes }: Geometry, members: number, imports: number, isNew = false): number {
  const two = isNew ? 0 : Math.min(2 * MIN_PIECE_BYTES, size / 128)
  const bytes = Math.min(16 * MiB, Math.max(MIN_PIECE_BYTES, two, size / 256))
  return Math.max(leastLeasePieces(members, imports), Math.floor(bytes / pieceBytes))
}

/** So few members ask that the origin's link would idle while questions and answers are on their way: they are granted more at a time, once there is enough to pass on. */
function leastLeasePieces(members: number, imports: number): number {
  return members > 2 && 2 * members <= FEWEST_LIVE && imports >= FEWEST_LIVE ? 2 : 1
}

/** Whoever imports alone is granted what it should have brought in after so long, and no more than so many times what it has. */
const LONE_MS = 2_000
const LONE_GROWTH = 3
/** However slow: the next request is made while the last of so many comes in. */
const LEAST_LONE = 4

/**
 * Pieces of a lease of the only member: many, so that its requests are few, but few enough that it may bring in all of them when others
 * come. What is cut short is on its way, and comes in vain.
 * @param pieceMs what a piece takes it; `undefined`: unknown
 */
export function loneLeasePieces(geometry: Geometry, imports: number, pieceMs: number | undefined): number {
  const soon = pieceMs === undefined ? 0 : Math.floor(LONE_MS / Math.max(1, pieceMs))
  return Math.max(leasePieces(geometry, 1, imports), Math.min(LONE_GROWTH * imports, Math.max(LEAST_LONE, soon)))
}

/** A lease dies so long after the last sign of life, which on a busy link comes a second or two late. */
export const SILENCE_MS = 4_000
/** Leases that one member may have noted: its own, those it was granted elsewhere, and those that have lapsed. */
export const MAX_NOTED_LEASES = 6
export const MIN_PAUSE_MS = 250
const MAX_PAUSE_MS = 8_000
/** In a zone up to this size nobody waits for others' sake. */
const SMALL_ZONE = 40
/** In a larger one all turn to the rendezvous within so many milliseconds for each of its members … */
const SPREAD_MS = 5
/** … and where there are several desks, within so many for each node that turns to the same one. */
const DESK_SPREAD_MS = 10
/** Named to each member of a large swarm. */
const FEW_NAMED = 8
const STILL_MS = 4_000
const FEW_MEMBERS = 16
/** Slow is so many times what others take, and longer than a busy machine may take for once. */
const SLOW_TIMES = 3
const LEAST_SLOW_MS = 500
/** Who brings nothing for so many times what others take keeps nobody else from importing meanwhile. */
const OVERDUE_TIMES = 2
const REST_TIMES = 16
/** What takes so many times longer than others', and no less than that, is not waited for. */
const PATIENCE_TIMES = 6
const LEAST_PATIENCE_MS = 2_000
export const FIRST_LIVE = 3
/** Pieces that a member may be ahead of others who import, and how long it is held back then. */
const LEAD = 4
export const HELD_BACK_MS = 250
const FEWEST_LIVE = 12
export const MOST_LIVE = 16

/**
 * However much life it shows, a lease that brings in no piece for so long is granted to another. `usualMs`: what others take for a
 * piece, if that is known.
 */
export function patienceMs(pieceBytes: number, usualMs?: number): number {
  const most = 10_000 + pieceBytes / 128
  return usualMs === undefined ? most : Math.min(most, Math.max(LEAST_PATIENCE_MS, PATIENCE_TIMES * usualMs))
}

/** So long after its import a piece that somebody still does not see is taken for lost. In a large swarm news takes longer. */
export function orphanedMs(members: number): number {
  return 4_000 * (1 + Math.max(0, Math.log2(members / 16)))
}

/**
 * Leases that may be live at a time, but for those that are nearly done. All of them share the origin's link: were there one for
 * each member of a crowd, every piece would come late, and all of them at once.
 */
export function maxLiveLeases(members: number): number {
  return Math.min(MOST_LIVE, Math.max(FEWEST_LIVE, Math.ceil(members / 2)))
}

/**
 * Leases that may be live once so many pieces have been imported. While nobody has anything to pass on, the first pieces should come one
 * by one and soon, not many at a time and late; what there is to pass on then grows as fast as the swarm can take it up.
 */
export function liveLeasesAfter(imports: number, first: number): number {
  return first + imports
}

/** Whether a member who asks has imported so much more than those who import now that its question, which may be nearer, can wait a moment. */
export function isAhead(imported: number, others: readonly number[], members: number): boolean {
  if (others.length === 0) return false
  return imported > LEAD * leastLeasePieces(members, imported) + others.reduce((sum, one) => sum + one, 0) / others.length
}

/**
 * Leases that one member may have at a time: where members are few, the next is asked for as soon as the origin has answered the last,
 * so that its link never idles while a question and its answer stand behind pieces.
 */
export function maxLeases(members: number): number {
  return members <= FEW_MEMBERS ? 2 : 1
}

/** Whether an importer takes long for a piece compared with others. */
export function isSlow(pieceMs: number | undefined, usualMs: number | undefined): boolean {
  if (pieceMs === undefined || usualMs === undefined) return false
  return pieceMs > Math.max(LEAST_SLOW_MS, SLOW_TIMES * usualMs)
}

/** Who is slow rests after a lease for so long, while others import: what only it holds leaves it as slowly as it came. */
export function restMs(pieceMs: number): number {
  return REST_TIMES * pieceMs
}

/** Whether a lease brings so little that it keeps nobody else from importing. */
export function isOverdue(
  { progressedAt }: { readonly progressedAt: number },
  usualMs: number | undefined,
  now: number,
): boolean {
  return now - progressedAt > (usualMs === undefined ? SILENCE_MS : Math.max(LEAST_SLOW_MS, OVERDUE_TIMES * usualMs))
}

/** Whether an importer may have its next lease before this one ends. One of a single piece is begun or done, never nearly done. */
export function nearlyDone(lease: { readonly remaining: number; readonly granted: number; readonly opened: boolean }): boolean {
  return lease.opened && lease.granted > 1 && lease.remaining <= Math.max(1, lease.granted >> 2)
}

/** How long a member is not granted anything after so many failures in a row. */
export function pauseMs(failures: number): number {
  return Math.min(MAX_PAUSE_MS, MIN_PAUSE_MS * 2 ** Math.max(0, failures - 1))
}

/** When a member whom nothing could be granted asks again, unless it is called earlier; many members ask less often. */
export function retryMs(members: number, random: () => number): number {
  return Math.round(Math.min(5_000, Math.max(1_000, members * 5)) * (0.75 + random() / 2))
}

/**
 * How long an answer is waited for: on busy links it stands behind pieces, on a busy machine behind other work, and behind all others
 * who may turn to the same node, and have to be connected first (measured 6 ms for each). Whoever acts alone too soon imports what others do.
 */
export function answerMs(nodes: number): number {
  return 1_000 + 6 * nodes
}

/**
 * How long to wait before one turns to the rendezvous: in a large zone a crowd may want the same, a new connection costs its other
 * end 6 ms (measured), and by the time that the last have come pieces are all around them. Who is connected already need not wait.
 */
export function registrationDelayMs(zone: number, random: () => number): number {
  if (zone <= SMALL_ZONE) return 0
  const here = nodesAtDesk(zone)
  return random() * here * (here < zone ? DESK_SPREAD_MS : SPREAD_MS)
}

/**
 * Whether to import without the leave of anybody, when nobody answers: were all of a large zone to do so at once, the origin would send a copy for each. So
 * few do at first, and twice as many each time that nobody seems to have got anything meanwhile.
 */
export function mayActAlone(zone: number, tries: number, random: () => number): boolean {
  return random() * zone < SMALL_ZONE * 2 ** tries
}

/**
 * How many members of a swarm one is told of. Each costs a connection: in a large swarm as few as keep it connected, besides those
 * whom one is connected with anyway.
 */
export function namedMembers(swarm: number): number {
  return swarm <= MAX_MEMBERS ? MAX_MEMBERS : FEW_NAMED
}

/** Whether a desk that names so many knows so few that one goes on to where members of all desks meet: the first ones of every crowd. */
export function fewNamed(members: number): boolean {
  return members < FEW_NAMED
}

/**
 * For how long pieces that nobody brings may stay as many before a member who was only introduced asks for a lease. Those of other desks
 * may all be in that position, and do not come at once.
 */
export function stillMs(zone: number, random: () => number): number {
  return STILL_MS + random() * zone * SPREAD_MS
}

/** No more than one member in so many is kept from importing. */
const MOST_CAUGHT = 3
const NOBODY: ReadonlySet<string> = new Set()

/** Members who were caught. Where so many are, it is rather this node that sees wrong things: then nobody counts as caught. */
export function unlessMany(caught: ReadonlySet<string> | undefined, members: number): ReadonlySet<string> {
  return caught === undefined || MOST_CAUGHT * caught.size > members ? NOBODY : caught
}
