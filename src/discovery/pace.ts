/**
 * How often a node may speak so that its whole zone stays under about 100 messages a second, whatever its size (design 5).
 * Half of it is for beacons and half for news. `nodes` counts the node itself.
 */
const BEACONS_PER_SECOND = 50
const NEWS_PER_SECOND = 50
const MIN_BEACON_MS = 10_000
const MAX_INTERVAL_MS = 60_000
/** News that is not urgent enough for a message of its own: what comes within this goes together. */
const MIN_NEWS_MS = 200
/** A member is dead when so many of its beacons did not come. */
const MISSED_BEACONS = 3
/** However small the zone: an event loop that is busy for some seconds is not dead. */
const MIN_EXPIRY_MS = 10_000
/** How much further apart beacons move when more is heard than the zone's size explains. */
const MAX_CROWDING = 4

export type Random = () => number

export function beaconIntervalMs(nodes: number, heardPerSecond = 0): number {
  const crowding = clamp(heardPerSecond / (BEACONS_PER_SECOND + NEWS_PER_SECOND), 1, MAX_CROWDING)
  return clamp((nodes * 1000) / BEACONS_PER_SECOND, MIN_BEACON_MS, MAX_INTERVAL_MS) * crowding
}

/** How long after its last sign of life a member counts as alive. */
export function expiryMs(intervalMs: number): number {
  return Math.max(MIN_EXPIRY_MS, MISSED_BEACONS * intervalMs)
}

/** The least time between two messages of news from one node. */
export function newsGapMs(nodes: number): number {
  return clamp((nodes * 1000) / NEWS_PER_SECOND, MIN_NEWS_MS, MAX_INTERVAL_MS)
}

/** How long to collect news before the next message: short in a quiet zone, spread out when everybody has something to say. */
export function newsDelayMs(
  zone: { readonly nodes: number; readonly heardPerSecond: number; readonly sinceLastMs: number },
  random: Random,
): number {
  const gapMs = newsGapMs(zone.nodes)
  const batchMs = zone.heardPerSecond < NEWS_PER_SECOND ? MIN_NEWS_MS : gapMs
  return Math.max(jittered(batchMs, random), gapMs - zone.sinceLastMs)
}

/** When to tell a newcomer about oneself: all members do, so they spread over as long as the budget needs. */
export function welcomeDelayMs(nodes: number, random: Random): number {
  return random() * newsGapMs(nodes)
}

/** What one author may send: twice and more of what an honest one does, because views of the zone's size differ. */
export function authorLimits(nodes: number, heardPerSecond: number) {
  return {
    beacons: { burst: 6, refillMs: clamp(beaconIntervalMs(nodes, heardPerSecond) / 4, 500, 5_000) },
    news: { burst: 16, refillMs: clamp(newsGapMs(nodes) / 4, 100, 2_000) },
    // an origin that asks to be left alone does so once in a while, and a node has only so many origins
    pauses: { burst: 8, refillMs: 5_000 },
  }
}

/** Within a quarter around `ms`. */
export function jittered(ms: number, random: Random): number {
  return ms * (0.75 + random() / 2)
}

function clamp(value: number, low: number, high: number): number {
  return Math.min(Math.max(value, low), high)
}
