import { ShoalError } from './error.ts'

/** Where a host stands: traffic inside one `region/zone` is cheap; the rack only ranks (design 1). */
export interface ZoneLabel {
  readonly region: string
  readonly zone: string
  readonly rack: string | undefined
}

const PART = /^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$/

/** Parses `region/zone` or `region/zone/rack`. @throws ShoalError ZONE_INVALID */
export function parseZone(text: string): ZoneLabel {
  const parts = text.split('/')
  if (parts.length < 2 || parts.length > 3 || !parts.every((p) => PART.test(p))) {
    throw new ShoalError(
      'ZONE_INVALID',
      `not a zone label: "${text.slice(0, 100)}"; expected region/zone or region/zone/rack, each of a-z 0-9 . _ -`,
    )
  }
  const [region, zone, rack] = parts as [string, string, string | undefined]
  return { region, zone, rack }
}

export function formatZone(label: ZoneLabel): string {
  return label.rack === undefined ? zoneName(label) : `${zoneName(label)}/${label.rack}`
}

/** `region/zone`: the name of the zone that a gossip topic belongs to. */
export function zoneName(label: ZoneLabel): string {
  return `${label.region}/${label.zone}`
}
