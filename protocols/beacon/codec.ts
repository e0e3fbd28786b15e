import type { Digest } from '../digest.ts'
import { Reader } from '../reader.ts'
import { isRegistryName } from '../reference.ts'
import { Writer } from '../writer.ts'
import { formatZone, parseZone, type ZoneLabel, zoneName } from '../zone.ts'
import {
  MAX_ADDRESS_BYTES,
  MAX_ADDRESSES,
  MAX_LABEL_BYTES,
  MAX_NEWS_DIGESTS,
  MAX_ORIGIN_BYTES,
  MAX_PAUSE_MS,
  MAX_ROLE_BYTES,
  MAX_ROLES,
  MAX_VERSION_BYTES,
  MAX_ZONE_MESSAGE_BYTES,
} from './limits.ts'

/** A node's sign of life on its zone's topic; gossipsub signs it (StrictSign), `author` is whom it proved to be from. */
export interface Beacon {
  readonly type: 'beacon'
  readonly label: ZoneLabel
  /** Multiaddrs in text form. */
  readonly addresses: readonly string[]
  readonly roles: readonly string[]
  /** 0 idle … 255. */
  readonly load: number
  readonly version: string
  /** Milliseconds since the epoch at which the node started: a restart is seen by it. */
  readonly startedAt: number
  /** Counts up with each beacon of one start. */
  readonly sequence: number
}

/** Blobs that the author has come to hold completely (`added`) or holds no longer (`removed`), batched. */
export interface HolderNews {
  readonly type: 'news'
  readonly addresses: readonly string[]
  readonly added: readonly Digest[]
  readonly removed: readonly Digest[]
}

/** An origin asked the author to leave it alone for a while. */
export interface OriginPause {
  readonly type: 'pause'
  /** A registry's name as in image references (`docker.io`), or a file server's host and port. */
  readonly origin: string
  /** Whom it asked: whoever it is, those without credentials, or those with the operator's own. */
  readonly who: (typeof PAUSED)[number]
  readonly retryAfterMs: number
}

export type ZoneMessage = Beacon | HolderNews | OriginPause

const VERSION = 1
/** Types as they are numbered on the wire, from 1. */
const TYPES = Object.freeze(['beacon', 'news', 'pause'] as const)
const PAUSED = Object.freeze(['everybody', 'nobody', 'operator'] as const)
/** The shape of a multiaddr's text; whether it is one is for whoever dials it. */
const ADDRESS = /^(?:\/[^\s/]+)+$/
const ROLE = /^[a-z][a-z0-9-]*$/

/** The gossip topic of the zone that a label stands in. */
export function zoneTopic(label: ZoneLabel): string {
  return `shoal/zone/${VERSION}/${zoneName(label)}`
}

export function encodeZoneMessage(message: ZoneMessage): Uint8Array {
  const writer = new Writer(1024).u8(VERSION).oneOf(TYPES, message.type)
  if (message.type === 'beacon') writeBeacon(writer, message)
  else if (message.type === 'news') writeNews(writer, message)
  else writePause(writer, message)
  return writer.finish()
}

/** @throws ShoalError MESSAGE_MALFORMED, MESSAGE_TOO_LARGE */
export function decodeZoneMessage(bytes: Uint8Array): ZoneMessage {
  const reader = new Reader(bytes, 'zone message')
  if (bytes.length > MAX_ZONE_MESSAGE_BYTES) throw reader.tooLarge(`${bytes.length} bytes`)
  const version = reader.u8()
  if (version !== VERSION) throw reader.malformed(`version ${version}`)
  const message = READ[reader.oneOf(TYPES)](reader)
  reader.end()
  return message
}

function writeBeacon(writer: Writer, { label, addresses, roles, load, version, startedAt, sequence }: Beacon): void {
  writer.text(formatZone(label), MAX_LABEL_BYTES)
  writeAddresses(writer, addresses)
  writer.list(roles, MAX_ROLES, (role) => {
    if (!ROLE.test(role)) throw new TypeError(`not a role: "${role.slice(0, 100)}"`)
    writer.text(role, MAX_ROLE_BYTES)
  })
  writer.u8(load).text(version, MAX_VERSION_BYTES).u64(startedAt).u32(sequence)
}

function readBeacon(reader: Reader): Beacon {
  const label = readLabel(reader)
  const addresses = readAddresses(reader)
  const roles = reader.list(MAX_ROLES, () => {
    const role = reader.text(MAX_ROLE_BYTES)
    if (!ROLE.test(role)) throw reader.malformed('not a role')
    return role
  })
  const load = reader.u8()
  const version = reader.text(MAX_VERSION_BYTES)
  return { type: 'beacon', label, addresses, roles, load, version, startedAt: reader.u64(), sequence: reader.u32() }
}

function writeNews(writer: Writer, { addresses, added, removed }: HolderNews): void {
  if (added.length + removed.length > MAX_NEWS_DIGESTS) throw new TypeError(`${added.length + removed.length} digests`)
  writeAddresses(writer, addresses)
  writer.list(added, MAX_NEWS_DIGESTS, (digest) => writer.digest(digest))
  writer.list(removed, MAX_NEWS_DIGESTS, (digest) => writer.digest(digest))
}

function readNews(reader: Reader): HolderNews {
  const addresses = readAddresses(reader)
  const added = reader.list(MAX_NEWS_DIGESTS, () => reader.digest())
  const removed = reader.list(MAX_NEWS_DIGESTS, () => reader.digest())
  if (added.length + removed.length > MAX_NEWS_DIGESTS) throw reader.tooLarge(`${added.length + removed.length} digests`)
  return { type: 'news', addresses, added, removed }
}

function writePause(writer: Writer, { origin, who, retryAfterMs }: OriginPause): void {
  if (!isOrigin(origin)) throw new TypeError(`not an origin: "${origin.slice(0, 100)}"`)
  if (!isPause(retryAfterMs)) throw new TypeError(`not a pause: ${retryAfterMs} ms`)
  writer.text(origin, MAX_ORIGIN_BYTES).oneOf(PAUSED, who).u32(retryAfterMs)
}

function readPause(reader: Reader): OriginPause {
  const origin = reader.text(MAX_ORIGIN_BYTES)
  if (!isOrigin(origin)) throw reader.malformed('not an origin')
  const who = reader.oneOf(PAUSED)
  const retryAfterMs = reader.u32()
  if (retryAfterMs > MAX_PAUSE_MS) throw reader.tooLarge(`${retryAfterMs} ms`)
  if (!isPause(retryAfterMs)) throw reader.malformed('no pause')
  return { type: 'pause', origin, who, retryAfterMs }
}

/** One origin has one name. */
function isOrigin(text: string): boolean {
  return isRegistryName(text) && text === text.toLowerCase()
}

function isPause(ms: number): boolean {
  return Number.isInteger(ms) && ms >= 1 && ms <= MAX_PAUSE_MS
}

const READ = Object.freeze({ beacon: readBeacon, news: readNews, pause: readPause })

function writeAddresses(writer: Writer, addresses: readonly string[]): void {
  writer.list(addresses, MAX_ADDRESSES, (address) => {
    if (!ADDRESS.test(address)) throw new TypeError(`not an address: "${address.slice(0, 100)}"`)
    writer.text(address, MAX_ADDRESS_BYTES)
  })
}

function readAddresses(reader: Reader): string[] {
  return reader.list(MAX_ADDRESSES, () => {
    const address = reader.text(MAX_ADDRESS_BYTES)
    if (!ADDRESS.test(address)) throw reader.malformed('not an address')
    return address
  })
}

function readLabel(reader: Reader): ZoneLabel {
  const text = reader.text(MAX_LABEL_BYTES)
  try {
    return parseZone(text)
  } catch (cause) {
    throw reader.malformed('not a zone label', cause)
  }
}
