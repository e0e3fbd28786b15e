import { quantile } from '../lib/stats.ts'

/** A piece came to be held: what a daemon's log says at level trace. */
export interface PieceHeld {
  /** Milliseconds since the epoch. */
  readonly time: number
  readonly host: number
  readonly digest: string
  readonly index: number
  /** `origin`, or the id of a peer. */
  readonly from: string
}

const MESSAGE = '"piece held"'

/** @returns `undefined` for lines about anything else */
export function parsePieceLine(host: number, line: string): PieceHeld | undefined {
  if (!line.includes(MESSAGE)) return undefined
  const { time, digest, index, from } = JSON.parse(line) as { time: string; digest: string; index: number; from: string }
  return { time: Date.parse(time), host, digest, index, from }
}

export interface HostTimeline {
  readonly host: number
  /** Seconds since the start; NaN for what never came. */
  readonly firstAt: number
  readonly halfAt: number
  readonly lastAt: number
  readonly pieces: number
  readonly fromOrigin: number
  readonly fromPeers: number
  /** Pieces that it got from the origin after another host had. */
  readonly importedAgain: number
}

export interface TimelineSummary {
  readonly hosts: readonly HostTimeline[]
  /** Different pieces that came from the origin, by second. */
  readonly importsBySecond: readonly number[]
  /** When the last of all pieces had come from the origin. */
  readonly copyAt: number
  /** Seconds from one host's having a piece to all hosts' having it. */
  readonly spread: { readonly p50: number; readonly max: number }
}

/** @param start milliseconds since the epoch @param pieces of all blobs together */
export function summariseTimeline(held: readonly PieceHeld[], start: number, pieces: number): TimelineSummary {
  const sorted = held.toSorted((a, b) => a.time - b.time)
  const byHost = Map.groupBy(sorted, ({ host }) => host)
  const firstImport = new Map<string, PieceHeld>()
  for (const each of sorted) if (each.from === 'origin' && !firstImport.has(keyOf(each))) firstImport.set(keyOf(each), each)
  const seconds = (time: number | undefined): number => (time === undefined ? Number.NaN : (time - start) / 1_000)
  const hosts = [...byHost.keys()]
    .toSorted((a, b) => a - b)
    .map((host): HostTimeline => {
      const own = byHost.get(host) ?? []
      const imports = own.filter(({ from }) => from === 'origin')
      return {
        host,
        firstAt: seconds(own[0]?.time),
        halfAt: seconds(own[Math.ceil(pieces / 2) - 1]?.time),
        lastAt: seconds(own.at(-1)?.time),
        pieces: own.length,
        fromOrigin: imports.length,
        fromPeers: own.length - imports.length,
        importedAgain: imports.filter((each) => firstImport.get(keyOf(each))?.host !== host).length,
      }
    })
  const importTimes = [...firstImport.values()].map(({ time }) => seconds(time))
  const importsBySecond = Array.from({ length: Math.floor(Math.max(0, ...importTimes)) + 1 }, () => 0)
  for (const at of importTimes)
    importsBySecond[Math.max(0, Math.floor(at))] = (importsBySecond[Math.max(0, Math.floor(at))] ?? 0) + 1
  const spreads = [...Map.groupBy(sorted, keyOf).values()]
    .filter((copies) => copies.length >= byHost.size)
    .map((copies) => ((copies.at(-1) as PieceHeld).time - (copies[0] as PieceHeld).time) / 1_000)
    .toSorted((a, b) => a - b)
  return {
    hosts,
    importsBySecond,
    copyAt: Math.max(...importTimes),
    spread: { p50: quantile(spreads, 0.5), max: spreads.at(-1) ?? Number.NaN },
  }
}

/** For people who look for what is slow. */
export function timelineText({ hosts, importsBySecond, copyAt, spread }: TimelineSummary): string {
  const cells = hosts.map((each) =>
    [
      each.host,
      each.firstAt.toFixed(2),
      each.halfAt.toFixed(2),
      each.lastAt.toFixed(2),
      each.fromOrigin,
      each.fromPeers,
      each.importedAgain,
    ]
      .map((cell) => String(cell).padStart(9))
      .join(''),
  )
  const again = hosts.reduce((sum, { importedAgain }) => sum + importedAgain, 0)
  const heads = ['host', 'first s', '50 % s', 'last s', 'origin', 'peers', 'again'].map((head) => head.padStart(9)).join('')
  return [
    heads,
    ...cells,
    `  the origin's last new piece came at ${copyAt.toFixed(2)} s; ${again} pieces were imported more than once`,
    `  from the first host's to the last host's having a piece: p50 ${spread.p50.toFixed(2)} s, max ${spread.max.toFixed(2)} s`,
    `  new pieces from the origin, by second: ${importsBySecond.join(' ')}`,
  ].join('\n')
}

function keyOf({ digest, index }: PieceHeld): string {
  return `${digest} ${index}`
}
