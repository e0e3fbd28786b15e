import { homedir } from 'node:os'
import { join } from 'node:path'
import { parse as parseYaml } from 'yaml'
import { z } from 'zod'
import { codeOf, type ErrorCode, ShoalError } from '../protocols/error.ts'
import { parseZone, type ZoneLabel } from '../protocols/zone.ts'
import { closest, type HostPort, isLoopback, isMultiaddr, parseHostPort, parseNamedUrl } from './config-values.ts'
import { parseOriginRate, parseOriginRequests, parseRate } from './rates.ts'
import { LOG_LEVELS, type LogLevel } from './telemetry/log.ts'

/** A daemon's configuration, parsed: what `openNode` takes and `shoal daemon` reads. */
export interface Config {
  readonly dataDir: string
  /** `undefined` (written `off`): no mirror. */
  readonly mirror: HostPort | undefined
  /** `undefined` (written `off`): no control listener. */
  readonly control: HostPort | undefined
  /** Multiaddrs to listen on for peers. */
  readonly listen: readonly string[]
  /** Multiaddrs that peers are told instead of the ones listened on. */
  readonly announce: readonly string[]
  /** Multiaddrs of peers to connect to at the start. */
  readonly bootstrap: readonly string[]
  readonly zone: ZoneLabel
  /** URL of each registry that is not simply at `https://NAME`. */
  readonly upstream: ReadonlyMap<string, URL>
  readonly defaultUpstream: string
  readonly logLevel: LogLevel
  readonly controlTokenFile: string | undefined
  /** The operator says that whoever reaches this node may read all its content. */
  readonly shared: boolean
  readonly dht: boolean
  readonly gossip: boolean
  /** `pieces`: a client gets bytes as they are verified; `whole`: once the whole digest is. */
  readonly stream: 'pieces' | 'whole'
  /** Bytes a second to all peers together; `undefined` (written `off`): as fast as it goes. */
  readonly uploadRate: number | undefined
  /** Bytes a second from peers and origins together. */
  readonly downloadRate: number | undefined
  /** Requests at a time to an origin, by its name; `*` for all others. */
  readonly originRequests: ReadonlyMap<string, number>
  /** Bytes a second from an origin, by its name; `*` for each of all others. */
  readonly originRate: ReadonlyMap<string, number | undefined>
  /** Whose word counts for what a tag means: also a zone member's who has just asked the registry, or only the registry's own. */
  readonly tags: 'zone' | 'registry'
}

/** The one table of defaults; `dataDir` depends on the user, see `defaultDataDir`. */
export const DEFAULTS: Omit<Config, 'dataDir'> = Object.freeze({
  mirror: Object.freeze({ host: '127.0.0.1', port: 7400 }),
  control: Object.freeze({ host: '127.0.0.1', port: 7401 }),
  listen: Object.freeze(['/ip4/0.0.0.0/tcp/7402']),
  announce: Object.freeze([]),
  bootstrap: Object.freeze([]),
  zone: Object.freeze({ region: 'default', zone: 'default', rack: undefined }),
  upstream: new Map(),
  defaultUpstream: 'docker.io',
  logLevel: 'info',
  controlTokenFile: undefined,
  shared: false,
  dht: true,
  gossip: true,
  stream: 'pieces',
  uploadRate: undefined,
  downloadRate: undefined,
  originRequests: new Map(),
  originRate: new Map(),
  tags: 'zone',
})

export type ConfigKey = keyof Config

/** How a key is written and what it may be. */
export interface ConfigSetting {
  readonly value: string
  /** Whether it is a list: comma-separated in the environment, repeated as a flag. */
  readonly list: boolean
  readonly about: string
  readonly schema: z.ZodType
}

const text = z.string().trim().min(1)
const onOff = z.union([
  z.boolean(),
  z.enum(['on', 'off', 'true', 'false', 'yes', 'no', '1', '0']).transform((word) => ['on', 'true', 'yes', '1'].includes(word)),
])
const listener = text.transform((word, context) => (word === 'off' ? undefined : checked(context, () => parseHostPort(word))))
const multiaddrs = z.array(text.refine(isMultiaddr, { params: { code: 'ADDRESS_INVALID' } }))
const zone = text.transform((label, context) => checked(context, () => parseZone(label)))
const upstream = z
  .array(text.transform((pair, context) => checked(context, () => parseNamedUrl(pair))))
  .transform((pairs) => new Map(pairs))
const rate = text.transform((word, context) => checked(context, () => parseRate(word)))
const originRequests = byOrigin(parseOriginRequests)
const originRate = byOrigin(parseOriginRate)
const registryName = text.regex(/^[A-Za-z0-9.:[\]-]+$/)

/** Every key, in the order of the help page; the flags, the variables and the file are all read by this table. */
export const SETTINGS: Readonly<Record<ConfigKey, ConfigSetting>> = Object.freeze({
  dataDir: one('DIR', 'where the identity, the catalog and the blobs are kept', text),
  mirror: one('HOST:PORT', 'where clients pull images, or off', listener),
  control: one('HOST:PORT', 'where the shoal command, scripts and Prometheus connect, or off', listener),
  listen: many('MULTIADDR', 'where peers connect', multiaddrs),
  announce: many('MULTIADDR', 'what peers are told to dial, if not what is listened on', multiaddrs),
  bootstrap: many('MULTIADDR', 'peers to connect to at the start, with /p2p/<id>', multiaddrs),
  zone: one('REGION/ZONE[/RACK]', 'where this host stands: traffic inside one region/zone is cheap', zone),
  upstream: many('NAME=URL', 'where a registry is, e.g. docker.io=http://127.0.0.1:5000', upstream),
  defaultUpstream: one('NAME', 'the registry meant when a request names none', registryName),
  logLevel: one(LOG_LEVELS.join('|'), 'what to log and above', z.enum(LOG_LEVELS as readonly [LogLevel, ...LogLevel[]])),
  controlTokenFile: one('FILE', 'file with the token that the control listener asks for', text),
  shared: one('on|off', 'whether whoever reaches this node may read everything in it', onOff),
  dht: one('on|off', 'find and announce blobs in the mesh-wide DHT', onOff),
  gossip: one('on|off', 'hear and tell who holds what inside the zone', onOff),
  stream: one(
    'pieces|whole',
    'when a client gets bytes: as pieces are verified, or once the whole is',
    z.enum(['pieces', 'whole']),
  ),
  uploadRate: one('RATE', 'what all peers together are sent at most, e.g. 100MiB/s or 50Mbit/s, or off', rate),
  downloadRate: one('RATE', 'what comes from peers and origins together at most, e.g. 100MiB/s, or off', rate),
  originRequests: many(
    '[NAME=]N',
    'requests for blobs at a time to an origin, and as many others (8 if not said)',
    originRequests,
  ),
  originRate: many('[NAME=]RATE', 'what comes from an origin at most, e.g. docker.io=20MiB/s, or off', originRate),
  tags: one(
    'zone|registry',
    'who is asked what a tag means: one member of the zone for all, or the registry by each',
    z.enum(['zone', 'registry']),
  ),
})

export const CONFIG_KEYS = Object.freeze(Object.keys(SETTINGS) as ConfigKey[])

export interface ConfigSources {
  /** Flags by key, as given: text, or a list of texts. */
  readonly flags?: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly env?: Readonly<Record<string, string | undefined>>
  readonly file?: { readonly name: string; readonly text: string } | undefined
  readonly isRoot?: boolean
}

interface Given {
  readonly source: string
  readonly value: unknown
}

/**
 * Flag before environment before file before default, key by key.
 * @throws ShoalError CONFIG_INVALID, ADDRESS_INVALID, ZONE_INVALID: the message names where, what, and what is expected
 */
export function readConfig(sources: ConfigSources): Config {
  const env = sources.env ?? {}
  const given = { ...fromFile(sources.file), ...fromEnvironment(env), ...fromFlags(sources.flags ?? {}) }
  const values: Record<string, unknown> = { ...DEFAULTS, dataDir: defaultDataDir(env, sources.isRoot ?? false) }
  for (const [key, { source, value }] of Object.entries(given)) values[key] = parseValue(key as ConfigKey, source, value)
  const config = Object.freeze(values) as unknown as Config
  if (config.control !== undefined && !isLoopback(config.control.host) && config.controlTokenFile === undefined) {
    const source = given.control?.source ?? 'control'
    throw new ShoalError(
      'CONFIG_INVALID',
      `${source}: "${config.control.host}" is not a loopback address, and a control listener that others can reach needs a token: give --control-token-file FILE too`,
    )
  }
  return config
}

/** `$XDG_DATA_HOME/shoal`, else `~/.local/share/shoal`; for root `/var/lib/shoal`. */
export function defaultDataDir(env: Readonly<Record<string, string | undefined>>, isRoot: boolean): string {
  if (isRoot) return '/var/lib/shoal'
  return join(env.XDG_DATA_HOME || join(env.HOME || homedir(), '.local', 'share'), 'shoal')
}

/** `dataDir` → `data-dir`: as in flags and in the file. */
export function keyName(key: string): string {
  return key.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`)
}

/** `dataDir` → `SHOAL_DATA_DIR`. */
export function variableName(key: string): string {
  return `SHOAL_${keyName(key).replaceAll('-', '_').toUpperCase()}`
}

type GivenByKey = Partial<Record<ConfigKey, Given>>

function fromFlags(flags: Readonly<Record<string, string | readonly string[] | undefined>>): GivenByKey {
  const given: GivenByKey = {}
  for (const [key, value] of Object.entries(flags)) {
    if (value === undefined) continue
    const source = `--${keyName(key)}`
    given[known(key, CONFIG_KEYS, source)] = {
      source,
      value: SETTINGS[key as ConfigKey]?.list ? [value].flat().flatMap(commas) : value,
    }
  }
  return given
}

/** What a cluster puts into every pod's environment for a service that happens to be called shoal. */
const SERVICE_LINK = /_SERVICE_(HOST|PORT(_.+)?)$|_PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?$/
/** Variables that are not keys: which file to read. */
const OWN_VARIABLES = ['SHOAL_CONFIG']

function fromEnvironment(env: Readonly<Record<string, string | undefined>>): GivenByKey {
  const given: GivenByKey = {}
  const keyOf = new Map(CONFIG_KEYS.map((key) => [variableName(key), key]))
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith('SHOAL_') || OWN_VARIABLES.includes(name) || SERVICE_LINK.test(name)) continue
    const key = keyOf.get(known(name, [...keyOf.keys(), ...OWN_VARIABLES], 'the environment')) as ConfigKey
    if (value === undefined || value === '') continue
    given[key] = { source: name, value: SETTINGS[key].list ? commas(value) : value }
  }
  return given
}

function fromFile(file: ConfigSources['file']): GivenByKey {
  if (file === undefined) return {}
  let content: unknown
  try {
    content = parseYaml(file.text) ?? {}
  } catch (cause) {
    throw new ShoalError('CONFIG_INVALID', `${file.name}: not YAML: ${(cause as Error).message.split('\n')[0]}`, { cause })
  }
  if (typeof content !== 'object' || content === null || Array.isArray(content)) {
    throw new ShoalError('CONFIG_INVALID', `${file.name}: expected keys and values, such as "zone: eu/dc1"`)
  }
  const given: GivenByKey = {}
  const keyOf = new Map(CONFIG_KEYS.map((key) => [keyName(key), key]))
  for (const [name, value] of Object.entries(content)) {
    const key = keyOf.get(known(name, [...keyOf.keys()], file.name)) as ConfigKey
    if (value === null) continue
    given[key] = { source: `${file.name}: ${name}`, value: SETTINGS[key].list ? listed(value) : value }
  }
  return given
}

/** A list may be written as one text, as a list, or (upstream) as a mapping. */
function listed(value: unknown): unknown {
  if (typeof value === 'string') return [value]
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  return Object.entries(value).map(([name, url]) => `${name}=${url}`)
}

function known<K extends string>(name: string, names: readonly K[], source: string): K {
  if (names.includes(name as K)) return name as K
  const guess = closest(name, names)
  throw new ShoalError(
    'CONFIG_INVALID',
    `${source}: unknown key "${name.slice(0, 100)}"${guess === undefined ? `; known are ${names.join(', ')}` : `; did you mean "${guess}"?`}`,
  )
}

function parseValue(key: ConfigKey, source: string, value: unknown): unknown {
  const setting = SETTINGS[key]
  const result = setting.schema.safeParse(value)
  if (result.success) return Object.freeze(result.data)
  const issue = result.error.issues[0]
  const refusal = issue?.code === 'custom' ? (issue.params as { code: ErrorCode; why?: string } | undefined) : undefined
  const wrong = issue?.path.length === 1 && Array.isArray(value) ? value[issue.path[0] as number] : value
  const shown = JSON.stringify(wrong)?.slice(0, 200).replace(CREDENTIALS, '//…@')
  const why = refusal?.why === undefined ? '' : ` (${refusal.why})`
  throw new ShoalError(
    refusal?.code ?? 'CONFIG_INVALID',
    refusal?.code === 'ZONE_INVALID'
      ? `${source}: ${refusal.why}`
      : `${source}: ${shown} is wrong${why}; expected ${expected(setting)}`,
  )
}

/** What a message must not repeat: a password in a URL. */
const CREDENTIALS = /\/\/[^/\s]*@/g

function expected(setting: ConfigSetting): string {
  return setting.value.includes('|')
    ? `one of ${setting.value.replaceAll('|', ', ')}`
    : `${setting.list ? 'a list of ' : ''}${setting.value}: ${setting.about}`
}

/** Hands a parser's refusal on as an issue that keeps its code. */
function checked<T>(context: z.RefinementCtx, parse: () => T, path: (string | number)[] = []): T {
  try {
    return parse()
  } catch (error) {
    const why = error instanceof ShoalError ? error.message : String(error)
    context.addIssue({ code: 'custom', path, params: { code: codeOf(error) ?? 'CONFIG_INVALID', why } })
    return z.NEVER
  }
}

/** A list of `NAME=VALUE`, or of a value alone for all others. */
function byOrigin<T>(parse: (text: string) => [name: string, value: T]) {
  const listed = z.preprocess((value) => (typeof value === 'number' ? [value] : value), z.array(z.union([z.number(), text])))
  return listed.transform((list, context) => {
    return new Map(list.map((pair, index) => checked(context, () => parse(String(pair)), [index])))
  })
}

function commas(value: string): string[] {
  return value
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}

function one(value: string, about: string, schema: z.ZodType): ConfigSetting {
  return { value, list: false, about, schema }
}

function many(value: string, about: string, schema: z.ZodType): ConfigSetting {
  return { value, list: true, about, schema }
}
