import { quantile } from '../lib/stats.ts'
import type { Judged } from './judge.ts'
import type { Reading } from './reader.ts'
import type { Transfer } from './reader-script.ts'
import type { Usage } from './usage-samples.ts'

const GIB = 2 ** 30

/** One host at the end of a round. */
export interface HostOutcome extends Reading, Judged {
  readonly host: number
  readonly killed: boolean
  readonly cpuSeconds: number
  readonly peakRssMiB: number
  /** Over its link, headers included. */
  readonly sentBytes: number
  readonly receivedBytes: number
}

export interface Outcome {
  /** What each host wants. */
  readonly bytes: number
  /** `undefined` where links have no rates. */
  readonly boundS: number | undefined
  readonly outcomes: readonly HostOutcome[]
  /** Of all daemons. */
  readonly cpuSeconds: number
  /** Of all cores, what was busy, clients and origin included. */
  readonly machineShare: number
  readonly originLinkBytes: number | undefined
  readonly originBodyBytes: number
  readonly originRequests: number
  /** What one host alone would have to ask for. */
  readonly onePullRequests: number
  /** Peers that lie. */
  readonly liars: readonly string[]
  readonly usage: readonly Usage[]
}

/** What one round says. */
export interface Figures {
  readonly boundS: number | undefined
  /** Of those that live, how many have not read everything whole. */
  readonly failed: number
  readonly completionS: { readonly p50: number; readonly p95: number; readonly max: number }
  readonly firstByteS: { readonly p50: number; readonly max: number }
  /** The slowest ÷ the bound. */
  readonly ratio: number
  /** Bytes over the origin's link ÷ content. */
  readonly originLinkCopies: number
  /** Bytes of bodies that the origin says it has sent ÷ content. */
  readonly originBodyCopies: number
  readonly originRequests: number
  /** The same ÷ what one host alone would have to ask for. */
  readonly originPulls: number
  /** Of what was delivered, bytes that had been there already. */
  readonly wastedShare: number
  readonly failedPieces: number
  /** Answers and blobs that seemed complete and were not the content. */
  readonly wrongBlobs: number
  /** Liars that somebody has banned, with the evidence. */
  readonly liarsBanned: number
  readonly cpuSecondsPerGiB: number
  /** The same of the clients. */
  readonly clientCpuSecondsPerGiB: number
  readonly machineShare: number
  readonly peakRssMiB: number
  readonly hosts: readonly HostOutcome[]
  readonly usage: readonly Usage[]
}

/** Times are each host's own, from its own start. */
export function figuresOf(outcome: Outcome): Figures {
  const { bytes, boundS, outcomes, machineShare, originLinkBytes, originBodyBytes, originRequests } = outcome
  const living = outcomes.filter(({ killed }) => !killed)
  const done = living.filter(({ failure }) => failure === undefined)
  const times = done.map(({ startedAt, endedAt }) => endedAt - startedAt).toSorted((a, b) => a - b)
  const firsts = living.flatMap(({ transfers }) => firstBytes(transfers)).toSorted((a, b) => a - b)
  const sum = (of: (host: HostOutcome) => number): number => outcomes.reduce((total, host) => total + of(host), 0)
  const delivered = done.length * bytes
  const max = times.at(-1) ?? Number.NaN
  return {
    boundS,
    failed: living.length - done.length,
    completionS: { p50: quantile(times, 0.5), p95: quantile(times, 0.95), max },
    firstByteS: { p50: quantile(firsts, 0.5), max: firsts.at(-1) ?? Number.NaN },
    ratio: boundS === undefined ? Number.NaN : max / boundS,
    originLinkCopies: originLinkBytes === undefined ? Number.NaN : originLinkBytes / bytes,
    originBodyCopies: originBodyBytes / bytes,
    originRequests,
    originPulls: originRequests / outcome.onePullRequests,
    wastedShare: sum(({ wastedBytes }) => wastedBytes) / delivered,
    failedPieces: sum(({ failedPieces }) => failedPieces),
    wrongBlobs: sum(({ wrongWholes, wrongCommitted }) => wrongWholes + wrongCommitted),
    liarsBanned: outcome.liars.filter((liar) => outcomes.some(({ banned }) => banned.includes(liar))).length,
    cpuSecondsPerGiB: outcome.cpuSeconds / (delivered / GIB),
    clientCpuSecondsPerGiB: sum(({ clientCpuSeconds }) => clientCpuSeconds) / (delivered / GIB),
    machineShare,
    peakRssMiB: Math.max(...living.map(({ peakRssMiB }) => peakRssMiB)),
    hosts: outcomes,
    usage: outcome.usage,
  }
}

/** Of each blob's first answer: an answer that goes on where another was cut says nothing. */
function firstBytes(transfers: readonly Transfer[]): number[] {
  return [...Map.groupBy(transfers, ({ digest }) => digest).values()].map(([first]) => first?.firstByteS ?? Number.NaN)
}
