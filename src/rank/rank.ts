import type { ZoneLabel } from '../../protocols/zone.ts'

/** What is known of a peer when it is ranked. */
export interface Rankable {
  readonly label: ZoneLabel | undefined
  readonly bytesPerSecond: number | undefined
  /** 0 idle … 255. */
  readonly load: number
}

/**
 * This node's own order of preference: same rack, then same zone, then same region, then measured speed, then load
 * (design 7). Stable: equals keep their order, so shuffle first where ties should be random.
 */
export function rank<T extends Rankable>(candidates: readonly T[], self: ZoneLabel): T[] {
  return candidates.toSorted(
    (a, b) =>
      distance(a.label, self) - distance(b.label, self) || (b.bytesPerSecond ?? 0) - (a.bytesPerSecond ?? 0) || a.load - b.load,
  )
}

/** 0 same rack, 1 same zone, 2 same region, 3 elsewhere or unknown. */
export function distance(label: ZoneLabel | undefined, self: ZoneLabel): number {
  if (label === undefined || label.region !== self.region) return 3
  if (label.zone !== self.zone) return 2
  return label.rack !== undefined && label.rack === self.rack ? 0 : 1
}
